use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::mailbox::Layout;

/// The files of mail under a path, one directory's names in memory at a time.
pub(super) struct Files {
    /// What is still to be looked at, the next one last.
    pending: Vec<Pending>,
    endings: Vec<String>,
}

struct Pending {
    path: PathBuf,
    inside: Inside,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Inside {
    /// The path that was named: taken whatever its name.
    Named,
    Directory,
    /// A folder of a maildir, `cur` or `new`.
    Maildir,
}

/// A file to be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct MailFile {
    pub(super) path: PathBuf,
    pub(super) layout: Layout,
}

impl Files {
    /// `endings`: those of the names that are taken from directories; without any, every name that begins with no dot.
    pub(super) fn new(path: &Path, endings: &[String]) -> Self {
        let named = Pending { path: path.to_owned(), inside: Inside::Named };
        Self { pending: vec![named], endings: endings.to_vec() }
    }

    /// The next file, in the order of their names; or a directory that cannot be read, and why.
    pub(super) fn next(&mut self) -> Option<Result<MailFile, (PathBuf, io::Error)>> {
        while let Some(Pending { path, inside }) = self.pending.pop() {
            if path.is_dir() {
                let inside = if inside == Inside::Named { Inside::Directory } else { inside };
                if let Err(error) = self.enter(&path, inside) {
                    return Some(Err((path, error)));
                }
                continue;
            }
            if inside == Inside::Directory && !self.takes(&path) {
                continue;
            }
            let single = inside == Inside::Maildir || path.extension().is_some_and(|e| e.eq_ignore_ascii_case("eml"));
            let layout = if single { Layout::Single } else { Layout::ByFirstLine };
            return Some(Ok(MailFile { path, layout }));
        }
        None
    }

    fn enter(&mut self, directory: &Path, inside: Inside) -> io::Result<()> {
        let mut names = fs::read_dir(directory)?.map(|e| e.map(|e| e.path())).collect::<io::Result<Vec<_>>>()?;
        names.sort_unstable();
        // A link to a directory may lead back here.
        names.retain(|path| !(path.is_dir() && path.is_symlink()));
        let is_maildir = directory.join("cur").is_dir();
        let place = |path: &PathBuf| match path.is_dir() {
            true if is_maildir && path.ends_with("tmp") => None,
            true if is_maildir && (path.ends_with("cur") || path.ends_with("new")) => Some(Inside::Maildir),
            // The other folders of a maildir lie in it, with a dot in front.
            true => Some(Inside::Directory),
            // What stands beside `cur` and `new` is the server's own.
            false => (!is_maildir).then_some(inside),
        };
        let found = names.into_iter().filter_map(|path| Some(Pending { inside: place(&path)?, path }));
        let from = self.pending.len();
        self.pending.extend(found);
        self.pending[from..].reverse();
        Ok(())
    }

    fn takes(&self, path: &Path) -> bool {
        let Some(name) = path.file_name() else { return false };
        let name = name.to_string_lossy();
        if self.endings.is_empty() {
            return !name.starts_with('.');
        }
        self.endings.iter().any(|ending| name.ends_with(ending.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(files: &[&str], endings: &[&str]) -> Vec<(String, Layout)> {
        let root = tempfile::tempdir().expect("a temporary directory");
        for file in files {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().expect("a directory")).expect("made");
            fs::write(path, "").expect("written");
        }
        let endings: Vec<String> = endings.iter().map(|e| (*e).to_owned()).collect();
        let mut found = Files::new(root.path(), &endings);
        std::iter::from_fn(|| found.next())
            .map(|file| file.expect("it can be read"))
            .map(|f| (f.path.strip_prefix(root.path()).expect("below").display().to_string(), f.layout))
            .collect()
    }

    #[test]
    fn what_is_taken() {
        let by_line = |names: &[&str]| names.iter().map(|n| ((*n).to_owned(), Layout::ByFirstLine)).collect::<Vec<_>>();
        let single = |names: &[&str]| names.iter().map(|n| ((*n).to_owned(), Layout::Single)).collect::<Vec<_>>();
        assert_eq!(
            list(&["b.txt", "a.txt", "a.json", ".x", "c/d.txt"], &[".txt"]),
            by_line(&["a.txt", "b.txt", "c/d.txt"])
        );
        assert_eq!(list(&["a", "b.mbox", ".x"], &[]), by_line(&["a", "b.mbox"]));
        assert_eq!(list(&["a.eml", "b.EML"], &[]), single(&["a.eml", "b.EML"]));
        let maildir =
            ["cur/1:2,S", "new/2", "tmp/3", "dovecot.index", ".Sent/cur/4", ".Sent/new/5", ".Sent/maildirfolder"];
        assert_eq!(list(&maildir, &[]), single(&[".Sent/cur/4", ".Sent/new/5", "cur/1:2,S", "new/2"]));
    }
}
