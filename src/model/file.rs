//! Files of models and of sums: a versioned header, a checksum and a compressed record, written beside and renamed.

use super::Fit;
use crate::csv::{Schema, Summed};
use crate::error::{Error, Result};
use crate::tasks::Tasks;
use flate2::{Compression, read::ZlibDecoder, write::ZlibEncoder};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::io::{BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// What a kind of file begins with, and how it is spoken of.
struct Kind {
    magic: &'static [u8; 8],
    version: u32,
    written_by: &'static str,
    remedy: &'static str,
    refuse: fn(PathBuf, String) -> Error,
}

const MODEL: Kind = Kind {
    magic: b"cognate\n",
    version: 2,
    written_by: "cognate fit --model FILE",
    remedy: "fit again",
    refuse: |path, problem| Error::ModelFile { path, problem },
};

const SUMS: Kind = Kind {
    magic: b"cogsums\n",
    version: 1,
    written_by: "cognate statistics -o FILE",
    remedy: "sum the table again",
    refuse: |path, problem| Error::StatisticsFile { path, problem },
};

/// The file being written, so that an interruption can remove it.
static PENDING: Mutex<Option<PathBuf>> = Mutex::new(None);

/// Writes a file whole or not at all: to a temporary file beside it, synced, then renamed.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    // Links are followed; what is no regular file (a device, a pipe) is written to, never replaced.
    let target = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    let path = target.as_path();
    if path.exists() && !path.is_file() {
        return std::fs::write(path, bytes).map_err(|source| Error::io(path, source));
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // The temporary file's own name is of no use to the reader.
    let refused = |source: std::io::Error| Error::io(path, std::io::Error::from(source.kind()));
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    let builder = {
        use std::os::unix::fs::PermissionsExt;
        // What is new is for whom the umask says, what is replaced for whom it was.
        builder.permissions(std::fs::Permissions::from_mode(0o666))
    };
    let builder = builder.prefix(".cognate-").suffix(".part");
    let mut file = {
        // Made and noted under the lock, so that an interruption finds either no file or its name.
        let mut pending = PENDING.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let file = builder.tempfile_in(folder).map_err(refused)?;
        *pending = Some(file.path().to_path_buf());
        file
    };
    if let Ok(replaced) = std::fs::metadata(path) {
        file.as_file().set_permissions(replaced.permissions()).map_err(refused)?;
    }
    file.write_all(bytes).map_err(refused)?;
    file.as_file().sync_all().map_err(refused)?;
    file.persist(path).map_err(|error| Error::io(path, error.error))?;
    *PENDING.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = None;
    Ok(())
}

/// Removes a file that was being written, and lets none be begun after it; for the handler of an interruption, which ends the program.
pub(crate) fn discard_pending() {
    let mut pending = PENDING.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if let Some(path) = pending.take() {
        let _ = std::fs::remove_file(path);
    }
    std::mem::forget(pending);
}

impl Kind {
    fn begins(&self, path: &Path) -> bool {
        let mut magic = [0; 8];
        path.is_file() && std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut magic)).is_ok() && &magic == self.magic
    }

    fn save(&self, value: &impl Serialize, path: &Path) -> Result<()> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
        let broken = |error: String| (self.refuse)(path.to_path_buf(), error);
        ciborium::into_writer(value, &mut encoder).map_err(|error| broken(error.to_string()))?;
        let payload = encoder.finish().map_err(|error| broken(error.to_string()))?;
        let mut bytes = Vec::with_capacity(payload.len() + 24);
        bytes.extend_from_slice(self.magic);
        bytes.extend_from_slice(&self.version.to_le_bytes());
        bytes.extend_from_slice(&crc32fast::hash(&payload).to_le_bytes());
        bytes.extend_from_slice(&(payload.len() as u64).to_le_bytes());
        bytes.extend_from_slice(&payload);
        write_whole(path, &bytes)
    }

    fn load<T: DeserializeOwned>(&self, path: &Path, is_consistent: impl Fn(&T) -> bool) -> Result<T> {
        let bytes = std::fs::read(path).map_err(|source| Error::io(path, source))?;
        let refuse = |problem: String| (self.refuse)(path.to_path_buf(), problem);
        let (written_by, version, remedy) = (self.written_by, self.version, self.remedy);
        if bytes.len() < 24 || &bytes[..8] != self.magic {
            return Err(refuse(format!("it does not begin like one; give the file that '{written_by}' wrote")));
        }
        let number = |from: usize| u32::from_le_bytes([bytes[from], bytes[from + 1], bytes[from + 2], bytes[from + 3]]);
        if number(8) != version {
            return Err(refuse(format!("it has version {} and this program reads version {version}; {remedy}", number(8))));
        }
        let payload = &bytes[24..];
        let length = u64::from(number(16)) | u64::from(number(20)) << 32;
        if payload.len() as u64 != length {
            return Err(refuse(format!("it is truncated ({} of {length} bytes); copy it again or {remedy}", payload.len())));
        }
        if crc32fast::hash(payload) != number(12) {
            return Err(refuse(format!("its checksum is wrong, so it is damaged; copy it again or {remedy}")));
        }
        let value: T = ciborium::from_reader(BufReader::with_capacity(1 << 16, ZlibDecoder::new(payload)))
            .map_err(|_| refuse(format!("its contents are not what this program writes; {remedy}")))?;
        if is_consistent(&value) { Ok(value) } else { Err(refuse(format!("its numbers do not belong together; {remedy}"))) }
    }
}

impl Fit {
    /// Saves the fit, with `extra` beside it (what a program wants to remember of its table), crash-safely.
    ///
    /// # Errors
    /// [`Error::Io`] where the file cannot be written; nothing is left behind then.
    pub fn save_with<T: Serialize>(&self, extra: &T, path: impl AsRef<Path>) -> Result<()> {
        MODEL.save(&(self, extra), path.as_ref())
    }

    /// Saves the fit crash-safely.
    ///
    /// # Errors
    /// As [`Fit::save_with`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        self.save_with(&(), path)
    }

    /// Reads a fit, and what was saved beside it, exactly as saved.
    ///
    /// # Errors
    /// [`Error::Io`] where the file cannot be read, [`Error::ModelFile`] where it is truncated, damaged, of another version or
    /// no model.
    pub fn load_with<T: DeserializeOwned>(path: impl AsRef<Path>) -> Result<(Fit, T)> {
        MODEL.load(path.as_ref(), |(fit, _): &(Fit, T)| fit.is_consistent())
    }

    /// Reads a fit exactly as saved, whatever was saved beside it.
    ///
    /// # Errors
    /// As [`Fit::load_with`].
    pub fn load(path: impl AsRef<Path>) -> Result<Fit> {
        Ok(Fit::load_with::<Ignored>(path)?.0)
    }
}

/// Saves the sums of a table crash-safely, with the formula that named its columns.
pub(crate) fn save_sums(summed: &Summed, formula: Option<&str>, path: &Path) -> Result<()> {
    SUMS.save(&(&summed.tasks, &summed.schema, formula), path)
}

/// Reads sums exactly as saved.
pub(crate) fn load_sums(path: &Path) -> Result<(Tasks, Schema, Option<String>)> {
    SUMS.load(path, |(tasks, _, _): &(Tasks, Schema, Option<String>)| tasks.is_consistent())
}

/// Whether a file begins like one of sums.
pub(crate) fn are_sums(path: &Path) -> bool {
    SUMS.begins(path)
}

/// Whether a file begins like a model.
pub(crate) fn is_model(path: &Path) -> bool {
    MODEL.begins(path)
}

/// Takes anything and keeps nothing.
struct Ignored;

impl<'de> Deserialize<'de> for Ignored {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        serde::de::IgnoredAny::deserialize(deserializer).map(|_| Ignored)
    }
}
