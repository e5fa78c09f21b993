//! Notes of the fits that are done, so that a comparison that was interrupted goes on where it was.

use super::cells::{Cell, Outcome};
use super::{Candidate, Options};
use crate::error::{Error, Result};
use crate::tasks::{Design, Rows};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 8] = b"cogcomp\n";
const VERSION: u32 = 1;

/// One fit that was done.
#[derive(Serialize, Deserialize)]
struct Note {
    candidate: String,
    fold: usize,
    outcome: Outcome,
}

/// A header and one record after another: what was being written when the program ended is passed over.
pub(super) struct Journal {
    path: PathBuf,
    file: File,
    known: HashMap<(String, usize), Outcome>,
}

impl Journal {
    /// Opens the journal of the comparison of that fingerprint, or begins it.
    ///
    /// # Errors
    /// [`Error::Arguments`] for a file that is no journal, or one of another comparison, and [`Error::Io`](Error) where it cannot be read or written.
    pub(super) fn open(path: &Path, fingerprint: u32) -> Result<Self> {
        let refused = |source| Error::io(path, source);
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(refused)?;
        let header = [MAGIC.as_slice(), &VERSION.to_le_bytes(), &fingerprint.to_le_bytes()].concat();
        let mut known = HashMap::new();
        if file.metadata().map_err(refused)?.len() == 0 {
            file.write_all(&header).map_err(refused)?;
            return Ok(Journal { path: path.into(), file, known });
        }
        let mut found = vec![0; header.len()];
        let of_another = |what: &str| Error::Arguments(format!("'{}' {what}; give another file to --resume", path.display()));
        let is_whole = file.read_exact(&mut found).is_ok();
        if !is_whole || found[..MAGIC.len()] != *MAGIC {
            return Err(of_another("holds no notes of a comparison"));
        }
        if found != header {
            return Err(of_another("holds notes of a comparison of other rows, folds or models, or of another version of cognate"));
        }
        let mut end = header.len() as u64;
        let mut reader = Counted { inner: BufReader::new(&file), count: 0 };
        while let Some(Note { candidate, fold, outcome }) = read(&mut reader) {
            known.insert((candidate, fold), outcome);
            end = header.len() as u64 + reader.count;
        }
        file.set_len(end).and_then(|()| file.seek(SeekFrom::Start(end))).map_err(refused)?;
        Ok(Journal { path: path.into(), file, known })
    }

    /// What is known of a fit.
    pub(super) fn take(&mut self, candidate: &Candidate, fold: usize) -> Option<Outcome> {
        self.known.remove(&(key(candidate), fold))
    }

    pub(super) fn note(&mut self, candidate: &Candidate, fold: usize, outcome: &Outcome) -> Result<()> {
        #[derive(Serialize)]
        struct Borrowed<'a> {
            candidate: String,
            fold: usize,
            outcome: std::result::Result<&'a Cell, &'a String>,
        }
        let mut bytes = Vec::new();
        let note = Borrowed { candidate: key(candidate), fold, outcome: outcome.as_ref() };
        ciborium::into_writer(&note, &mut bytes).map_err(|error| Error::Arguments(format!("a fit cannot be noted: {error}")))?;
        let frame = [&(bytes.len() as u64).to_le_bytes()[..], &crc32fast::hash(&bytes).to_le_bytes(), &bytes].concat();
        self.file.write_all(&frame).map_err(|source| Error::io(&self.path, source))
    }
}

/// The next record: its length, its checksum, and what it says; none where it is torn or was changed.
fn read(reader: &mut impl Read) -> Option<Note> {
    let (mut length, mut checksum) = ([0; 8], [0; 4]);
    reader.read_exact(&mut length).ok()?;
    reader.read_exact(&mut checksum).ok()?;
    let (length, mut bytes) = (u64::from_le_bytes(length), Vec::new());
    reader.take(length).read_to_end(&mut bytes).ok()?;
    let is_whole = bytes.len() as u64 == length && crc32fast::hash(&bytes) == u32::from_le_bytes(checksum);
    is_whole.then(|| ciborium::from_reader(bytes.as_slice()).ok()).flatten()
}

fn key(candidate: &Candidate) -> String {
    [candidate.name.as_str(), &candidate.arguments.join(" ")].join("\n")
}

/// A reader that knows how much was read of it.
struct Counted<R> {
    inner: R,
    count: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.count += read as u64;
        Ok(read)
    }
}

/// A checksum of all that the fits of a comparison depend on, but for the candidates' names.
pub(super) fn fingerprint(rows: &Rows, design: &Design, options: &Options) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(
        format!("{:?} {} {:?} {} {} {design:?}", options.key, options.folds, options.repeats, options.seed, env!("CARGO_PKG_VERSION"))
            .as_bytes(),
    );
    for name in rows.names().iter().chain(rows.features()).chain(rows.units()).chain(rows.groups()) {
        sum.update(name.as_bytes());
        sum.update(&[0]);
    }
    for i in 0..rows.len() {
        sum.update(&rows.task(i).to_le_bytes());
        let numbers = rows.x(i).iter().copied().chain([rows.y(i), rows.weight(i), rows.offset(i)]);
        numbers.for_each(|value| sum.update(&value.to_bits().to_le_bytes()));
    }
    sum.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Model;
    use crate::{Gaussian, Pooled};

    fn candidate() -> Candidate {
        Candidate::new("pooled", || Ok(Model::new(Gaussian::default(), Pooled { task_intercepts: false })))
    }

    #[test]
    fn notes_are_read_back_and_a_torn_one_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes");
        let refusal = Err("no".to_string());
        {
            let mut journal = Journal::open(&path, 7).unwrap();
            journal.note(&candidate(), 0, &Ok(Cell { scored: Vec::new(), seconds: 1.5 })).unwrap();
            journal.note(&candidate(), 1, &refusal).unwrap();
        }
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() - 2]).unwrap();
        {
            let mut journal = Journal::open(&path, 7).unwrap();
            assert_eq!(journal.take(&candidate(), 0).unwrap().unwrap().seconds, 1.5);
            assert!(journal.take(&candidate(), 1).is_none());
            journal.note(&candidate(), 1, &refusal).unwrap();
        }
        assert_eq!(std::fs::read(&path).unwrap(), whole);
        let mut changed = whole.clone();
        let last = changed.len() - 1;
        changed[last] ^= 1;
        std::fs::write(&path, &changed).unwrap();
        assert!(Journal::open(&path, 7).unwrap().take(&candidate(), 1).is_none());
        std::fs::write(&path, &whole).unwrap();
        assert_eq!(Journal::open(&path, 7).unwrap().take(&candidate(), 1).unwrap().unwrap_err(), "no");
    }

    #[test]
    fn other_files_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes");
        drop(Journal::open(&path, 7).unwrap());
        let problem = |path: &Path| Journal::open(path, 8).err().unwrap().to_string();
        assert!(problem(&path).contains("other rows, folds or models"));
        std::fs::write(&path, "task,y\na,1\nb,2\nc,3\n").unwrap();
        assert!(problem(&path).contains("holds no notes"));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "task,y\na,1\nb,2\nc,3\n");
    }
}
