//! Files of transactions: read as a stream, so that a file may be larger than
//! memory, and bounded per transaction, so that a hostile one cannot fill it.

use std::{
    cell::Cell,
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
};

use serde::de::{DeserializeSeed, Deserializer as _, Error as _, SeqAccess, Visitor};
use serde_json::Value;

use super::{
    source::Form,
    step::{Emit, Place, Step, Stop},
};
use crate::failure::Failure;

/// The longest transaction, in bytes; more than a document may be.
const TRANSACTION_BYTES: usize = 4 << 20;

/// The largest window that a compressed file may ask for, as a power of two:
/// what `zstd --long` makes by default.
const ZSTD_WINDOW: u32 = 27;

/// Whether the file can be read at all.
pub(super) fn check(path: &Path) -> Result<(), Failure> {
    let is_file = File::open(path)
        .and_then(|file| file.metadata())
        .map_err(|cause| failed(path, &cause))?
        .is_file();
    if is_file { Ok(()) } else { Err(failed(path, &"it is not a file")) }
}

fn failed(path: &Path, cause: &dyn std::fmt::Display) -> Failure {
    Failure::usage(format!("cannot read {}: {cause}", path.display()))
}

/// Reads the transactions of a file in order.
pub(super) fn read(path: &Path, form: Form, zstd: bool, emit: Emit<'_>) -> Result<(), Stop> {
    let failed = |cause: io::Error| failed(path, &cause);
    let file = File::open(path).map_err(failed)?;
    let plain: Box<dyn BufRead> = if zstd {
        let mut decoder = zstd::Decoder::new(file).map_err(failed)?;
        decoder.window_log_max(ZSTD_WINDOW).map_err(failed)?;
        Box::new(BufReader::new(decoder))
    } else {
        Box::new(BufReader::new(file))
    };
    match form {
        Form::Lines => lines(path, plain, emit),
        Form::Array => array(path, plain, emit),
    }
}

fn wrong(path: &Path, place: &Place, cause: impl std::fmt::Display) -> Stop {
    Stop::Failed(Failure::usage(format!("{} {place}: {cause}", path.display())))
}

fn lines(path: &Path, mut reader: impl BufRead, emit: Emit<'_>) -> Result<(), Stop> {
    let mut line = Vec::new();
    for number in 1.. {
        let place = Place::Line(number);
        line.clear();
        let read = reader.by_ref().take(TRANSACTION_BYTES as u64 + 1).read_until(b'\n', &mut line);
        if read.map_err(|cause| wrong(path, &place, cause))? == 0 {
            break;
        }
        if line.len() > TRANSACTION_BYTES {
            return Err(wrong(
                path,
                &place,
                format!(
                    "it is longer than {TRANSACTION_BYTES} bytes; a file of lines holds one transaction in each"
                ),
            ));
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        let transaction: Value = serde_json::from_slice(line.trim_ascii_end())
            .map_err(|cause| wrong(path, &place, json(&cause)))?;
        let step =
            Step::check(place.clone(), transaction).map_err(|cause| wrong(path, &place, cause))?;
        emit(step)?;
    }
    Ok(())
}

/// The cause and the column; the line is told by the place.
fn json(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let cause = text.rsplit_once(" at line ").map_or(text.as_str(), |(cause, _)| cause);
    format!("not JSON at column {}: {cause}", error.column())
}

fn array(path: &Path, reader: impl BufRead, emit: Emit<'_>) -> Result<(), Stop> {
    let left = Cell::new(TRANSACTION_BYTES);
    let mut deserializer =
        serde_json::Deserializer::from_reader(BufReader::new(Bounded { reader, left: &left }));
    let mut elements = Elements { path, emit, left: &left, number: 0, stop: None };
    let read = deserializer.deserialize_seq(&mut elements);
    if let Some(stop) = elements.stop {
        return Err(stop);
    }
    let place = Place::Element(elements.number + 1);
    read.and_then(|()| deserializer.end()).map_err(|cause| wrong(path, &place, cause))
}

/// Refuses to read on when one transaction has used up what is left for it.
struct Bounded<'a, R> {
    reader: R,
    left: &'a Cell<usize>,
}

impl<R: Read> Read for Bounded<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left.get() == 0 {
            return Err(io::Error::other(format!("it is longer than {TRANSACTION_BYTES} bytes")));
        }
        let read = self.reader.read(buffer)?;
        self.left.set(self.left.get().saturating_sub(read));
        Ok(read)
    }
}

/// Hands on the elements of an array one by one.
struct Elements<'a> {
    path: &'a Path,
    emit: Emit<'a>,
    left: &'a Cell<usize>,
    number: u64,
    stop: Option<Stop>,
}

impl<'de> Visitor<'de> for &mut Elements<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an array of transactions (for one in each line name the file .jsonl)")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<(), A::Error> {
        while sequence.next_element_seed(&mut *self)?.is_some() {}
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for &mut Elements<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        self.left.set(TRANSACTION_BYTES);
        let transaction = <Value as serde::Deserialize>::deserialize(deserializer)?;
        self.number += 1;
        let place = Place::Element(self.number);
        let step = Step::check(place.clone(), transaction)
            .map_err(|cause| wrong(self.path, &place, cause));
        step.and_then(|step| (self.emit)(step)).map_err(|stop| {
            self.stop = Some(stop);
            D::Error::custom("stopped")
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn tx(id: u32) -> Value {
        json!({
            "_id": format!("t{id}"), "_class": "core:class:TxRemoveDoc", "space": "core:space:Tx",
            "objectId": "d", "objectClass": "c", "objectSpace": "s", "modifiedBy": "a", "modifiedOn": id
        })
    }

    fn read_text(form: Form, text: &str) -> (Vec<Step>, Option<String>) {
        let mut steps = Vec::new();
        let mut emit = |step| {
            steps.push(step);
            Ok(())
        };
        let path = Path::new("f");
        let end = match form {
            Form::Lines => lines(path, text.as_bytes(), &mut emit),
            Form::Array => array(path, text.as_bytes(), &mut emit),
        };
        let message = match end {
            Ok(()) => None,
            Err(Stop::Failed(failure)) => Some(failure.to_string()),
            Err(Stop::Gone) => panic!("gone"),
        };
        (steps, message)
    }

    #[test]
    fn lines_and_arrays_hold_the_same_transactions() {
        let (lines, end) = read_text(Form::Lines, &format!("{}\r\n\n{}", tx(1), tx(2)));
        assert_eq!((lines.len(), end), (2, None));
        assert_eq!(lines[1].place, Place::Line(3));
        let (array, end) = read_text(Form::Array, &format!(" [{}, {}]\n", tx(1), tx(2)));
        assert_eq!((array.len(), end), (2, None));
        assert_eq!(array[1].place, Place::Element(2));
        assert_eq!(array[1].text, lines[1].text);
    }

    #[test]
    fn a_bad_line_is_named_and_what_came_before_it_is_handed_on() {
        let (steps, end) =
            read_text(Form::Lines, &format!("{}\n{{\"_id\": }}\n{}\n", tx(1), tx(2)));
        assert_eq!(steps.len(), 1);
        assert_eq!(end.unwrap(), "f line 2: not JSON at column 9: expected value");
        let (_, end) = read_text(Form::Lines, "{\"_id\": \n");
        assert_eq!(end.unwrap(), "f line 1: not JSON at column 7: EOF while parsing a value");
        let (steps, end) = read_text(Form::Lines, &format!("{}\n{}\n7\n", tx(1), tx(2)));
        assert_eq!(steps.len(), 2);
        assert!(end.unwrap().starts_with("f line 3: a transaction is an object"));
    }

    #[test]
    fn a_bad_element_is_named_and_what_came_before_it_is_handed_on() {
        let (steps, end) = read_text(Form::Array, &format!("[{}, {{}}, {}]", tx(1), tx(2)));
        assert_eq!(steps.len(), 1);
        assert!(end.unwrap().starts_with("f transaction 2: field `_class`"));
        let (steps, end) = read_text(Form::Array, &format!("[{},", tx(1)));
        assert_eq!(steps.len(), 1);
        assert!(end.unwrap().starts_with("f transaction 2: EOF"));
        let (_, end) = read_text(Form::Array, "{}");
        assert!(end.unwrap().contains(".jsonl"));
        let (_, end) = read_text(Form::Array, "[] []");
        assert!(end.unwrap().contains("trailing characters"));
    }

    #[test]
    fn a_transaction_without_end_does_not_fill_the_memory() {
        let endless = format!("[{}, \"{}\"]", tx(1), "x".repeat(2 * TRANSACTION_BYTES));
        let (steps, end) = read_text(Form::Array, &endless);
        assert_eq!(steps.len(), 1);
        assert!(end.unwrap().contains("longer than"));
        let (_, end) = read_text(Form::Lines, &endless);
        assert!(end.unwrap().starts_with("f line 1: it is longer than"));
    }

    #[test]
    fn a_compressed_file_is_read_and_a_truncated_one_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("t.jsonl.zst");
        let text: String = (0..1000).map(|id| format!("{}\n", tx(id))).collect();
        let whole = zstd::encode_all(text.as_bytes(), 1).unwrap();
        let count = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            let mut count = 0;
            let end = read(&path, Form::Lines, true, &mut |_| {
                count += 1;
                Ok(())
            });
            (count, end.is_ok())
        };
        assert_eq!(count(&whole), (1000, true));
        assert!(!count(&whole[..whole.len() - 8]).1);
        assert!(!count(b"not zstd").1);
    }
}
