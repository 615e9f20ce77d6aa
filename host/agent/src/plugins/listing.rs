//! What lies in the plugin directory now.

use std::{collections::BTreeMap, fs, io, os::unix::fs::MetadataExt, path::Path};

use hulynet_agent_kinds::{Source, Stamp};

/// The kinds of a directory: every `NAME.wasm`, with what stands beside it.
/// Links are followed; a dangling one, or a file that vanishes meanwhile, is
/// not there.
pub(super) fn list(directory: &Path) -> io::Result<BTreeMap<String, Source>> {
    let mut kinds = BTreeMap::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "wasm") {
            continue;
        }
        if let (Some(name), Some(source)) = (path.file_stem(), source(&path)) {
            kinds.insert(name.to_string_lossy().into_owned(), source);
        }
    }
    Ok(kinds)
}

/// The files of the kind whose code is at this path.
pub(super) fn source(path: &Path) -> Option<Source> {
    Some(Source {
        code: stamp(path)?,
        manifest: stamp(&path.with_extension("toml")),
        signature: stamp(&path.with_extension("sig")),
    })
}

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = fs::metadata(path).ok()?;
    metadata.is_file().then(|| Stamp {
        length: metadata.len(),
        file: (metadata.dev(), metadata.ino()),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn kinds_are_files_or_links_to_files_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::write(path("a.wasm"), "code").unwrap();
        fs::write(path("a.toml"), "manifest").unwrap();
        fs::write(path("lonely.toml"), "manifest").unwrap();
        fs::create_dir(path("directory.wasm")).unwrap();
        symlink(path("a.wasm"), path("link.wasm")).unwrap();
        symlink(path("nowhere"), path("dangling.wasm")).unwrap();
        let listing = list(directory.path()).unwrap();
        assert_eq!(listing.keys().collect::<Vec<_>>(), ["a", "link"]);
        let a = listing["a"];
        assert_eq!((a.code.length, a.manifest.unwrap().length, a.signature), (4, 8, None));
        assert_eq!(listing["link"].code, a.code);
    }

    #[test]
    fn other_content_of_the_same_length_and_date_is_another_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.wasm");
        fs::write(&path, "one").unwrap();
        let before = source(&path).unwrap();
        let date = fs::metadata(&path).unwrap().modified().unwrap();
        let other = directory.path().join("other");
        fs::write(&other, "two").unwrap();
        fs::File::options().append(true).open(&other).unwrap().set_modified(date).unwrap();
        fs::rename(&other, &path).unwrap();
        assert_ne!(source(&path).unwrap(), before);
    }
}
