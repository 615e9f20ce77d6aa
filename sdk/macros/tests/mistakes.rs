//! The mistakes that authors make, and what they are told.

#[test]
fn mistakes_are_told_with_their_remedy() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/fail/*.rs");
}
