//! What lies where weights were expected: pointers of Git LFS, web pages, pickled tensors. It only
//! tells; none of it is read.

use std::io::Read;
use std::path::Path;

use crate::error::Error;

/// How a Git LFS pointer begins, which a clone without git-lfs has in place of a large file.
const LFS: &[u8] = b"version https://git-lfs.github.com/spec/";

/// Extensions of files that hold pickled tensors.
const PICKLES: [&str; 4] = ["bin", "ckpt", "pt", "pth"];

/// The error of a file that is plainly something else; `None` where that is not known.
pub(crate) fn what_is(path: &Path) -> Option<Error> {
    let mut start = Vec::new();
    let file = std::fs::File::open(path).ok()?;
    file.take(256).read_to_end(&mut start).ok()?;
    if is_pickle(&start) {
        return Some(Error::Pickled { path: path.into() });
    }
    if start.starts_with(b"GGUF") {
        return Some(Error::Gguf { path: path.into() });
    }
    let text = start.trim_ascii_start();
    let page = [b"<!doctype".as_slice(), b"<html"];
    let is_page = |tag: &&[u8]| {
        text.get(..tag.len())
            .is_some_and(|begin| begin.eq_ignore_ascii_case(tag))
    };
    if text.starts_with(LFS) {
        return Some(Error::LfsPointer { path: path.into() });
    }
    (page.iter().any(is_page)).then(|| Error::WebPage { path: path.into() })
}

/// How PyTorch's pickled files begin: as an archive, or with the pickle itself. The same bytes may
/// begin the length of a safetensors header, whose ninth byte is then a brace.
fn is_pickle(start: &[u8]) -> bool {
    let begins = start.starts_with(b"PK\x03\x04") || start.first() == Some(&0x80);
    begins && start.get(8) != Some(&b'{')
}

/// The names of the files in `folder` that hold pickled tensors, a few of them.
pub(crate) fn pickles(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let is_pickle = |name: &String| {
        let extension = Path::new(name).extension().and_then(|e| e.to_str());
        extension.is_some_and(|e| PICKLES.contains(&e))
    };
    let mut names: Vec<String> = names.filter(is_pickle).collect();
    names.sort();
    names.truncate(3);
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_and_pages_are_told_apart_from_weights() -> std::io::Result<()> {
        let folder = tempfile::tempdir()?;
        let told = |bytes: &[u8]| -> std::io::Result<String> {
            let path = folder.path().join("model.safetensors");
            std::fs::write(&path, bytes)?;
            Ok(what_is(&path).map_or_else(String::new, |error| error.to_string()))
        };
        let pointer = told(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n")?;
        assert!(pointer.contains("model.safetensors") && pointer.contains("git lfs pull"));
        assert!(told(b"\n<!DOCTYPE HTML><html>")?.contains("web page"));
        assert!(told(b"<html>")?.contains("web page"));
        assert!(told(b"PK\x03\x04archive/data.pkl")?.contains("pickle"));
        assert!(told(b"\x80\x02}q\x00(X\x05\x00")?.contains("convert it to safetensors"));
        assert!(told(b"GGUF\x03\x00")?.contains("GGUF"));
        let header = b"\x80\x01\x00\x00\x00\x00\x00\x00{\"a\"";
        for other in [&b""[..], b"<", b"{\"a\": 1}", &[0xff; 300], header] {
            assert_eq!(told(other)?, "");
        }
        Ok(())
    }

    #[test]
    fn pickles_are_listed_by_name() -> std::io::Result<()> {
        let folder = tempfile::tempdir()?;
        for name in ["b.bin", "a.ckpt", "model.safetensors", "config.json"] {
            std::fs::write(folder.path().join(name), b"x")?;
        }
        assert_eq!(pickles(folder.path()), ["a.ckpt", "b.bin"]);
        assert!(pickles(&folder.path().join("nowhere")).is_empty());
        Ok(())
    }
}
