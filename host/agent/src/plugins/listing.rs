//! What lies in the plugin directory now.

use std::{ffi::OsStr, fs, io, os::unix::fs::MetadataExt, path::Path};

use hulynet_agent_kinds::{Source, Stamp, directory::Listing};

/// What a directory holds of kinds: `NAME.wasm` and what stands beside it, but
/// for hidden files. Links are followed; a dangling one, or a file that vanishes
/// meanwhile, is no file.
pub(super) fn list(directory: &Path) -> io::Result<Listing> {
    let mut listing = Listing::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let extension = path.extension().and_then(OsStr::to_str);
        let (Some(name), Some("wasm" | "toml" | "sig")) = (path.file_stem(), extension) else {
            continue;
        };
        let name = name.to_string_lossy();
        if name.starts_with('.') {
            continue;
        }
        // Names that are no text may look alike.
        let source = source(&path.with_extension("wasm"));
        let known = listing.entry(name.into_owned()).or_default();
        *known = known.or(source);
    }
    Ok(listing)
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
        for other in ["notes.txt", ".#a.toml"] {
            fs::write(path(other), "text").unwrap();
        }
        fs::create_dir(path("directory.wasm")).unwrap();
        symlink(path("a.wasm"), path("link.wasm")).unwrap();
        symlink(path("nowhere"), path("dangling.wasm")).unwrap();
        let listing = list(directory.path()).unwrap();
        let kinds: Vec<_> = listing.iter().filter(|(_, source)| source.is_some()).collect();
        assert_eq!(kinds.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["a", "link"]);
        let a = listing["a"].unwrap();
        assert_eq!((a.code.length, a.manifest.unwrap().length, a.signature), (4, 8, None));
        assert_eq!(listing["link"].unwrap().code, a.code);
        let strays = ["dangling", "directory", "lonely"].map(|name| listing[name]);
        assert_eq!(strays, [None; 3]);
        assert_eq!(listing.len(), 5, "other files are nobody's business");
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
