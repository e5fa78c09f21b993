//! Model files: a versioned header, a checksum and a compressed record, written beside and renamed.

use super::Fit;
use crate::error::{Error, Result};
use flate2::{Compression, read::ZlibDecoder, write::ZlibEncoder};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

const MAGIC: &[u8; 8] = b"cognate\n";
const VERSION: u32 = 1;

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
    let mut file = {
        // Made and noted under the lock, so that an interruption finds either no file or its name.
        let mut pending = PENDING.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let file = tempfile::Builder::new().prefix(".cognate-").suffix(".part").tempfile_in(folder).map_err(refused)?;
        *pending = Some(file.path().to_path_buf());
        file
    };
    file.write_all(bytes).map_err(refused)?;
    file.as_file().sync_all().map_err(refused)?;
    let mode = std::fs::metadata(path).map(|meta| meta.permissions());
    let kept = file.persist(path).map_err(|error| Error::io(path, error.error))?;
    *PENDING.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = None;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let permissions = mode.unwrap_or_else(|_| std::fs::Permissions::from_mode(0o644));
        kept.set_permissions(permissions).map_err(refused)?;
    }
    #[cfg(not(unix))]
    let _ = (kept, mode);
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

impl Fit {
    /// Saves the fit, with `extra` beside it (what a program wants to remember of its table), crash-safely.
    ///
    /// # Errors
    /// [`Error::Io`] where the file cannot be written; nothing is left behind then.
    pub fn save_with<T: Serialize>(&self, extra: &T, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
        let broken = |error: String| Error::ModelFile { path: path.to_path_buf(), problem: error };
        ciborium::into_writer(&(self, extra), &mut encoder).map_err(|error| broken(error.to_string()))?;
        let payload = encoder.finish().map_err(|error| broken(error.to_string()))?;
        let mut bytes = Vec::with_capacity(payload.len() + 24);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&crc32fast::hash(&payload).to_le_bytes());
        bytes.extend_from_slice(&(payload.len() as u64).to_le_bytes());
        bytes.extend_from_slice(&payload);
        write_whole(path, &bytes)
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
        let path = path.as_ref();
        let bytes = std::fs::read(path).map_err(|source| Error::io(path, source))?;
        let refuse = |problem: String| Error::ModelFile { path: path.to_path_buf(), problem };
        if bytes.len() < 24 || &bytes[..8] != MAGIC {
            return Err(refuse("it does not begin like one; give the file that 'cognate fit --model FILE' wrote".into()));
        }
        let number = |from: usize| u32::from_le_bytes([bytes[from], bytes[from + 1], bytes[from + 2], bytes[from + 3]]);
        if number(8) != VERSION {
            return Err(refuse(format!("it has version {} and this program reads version {VERSION}; fit again", number(8))));
        }
        let payload = &bytes[24..];
        let length = u64::from(number(16)) | u64::from(number(20)) << 32;
        if payload.len() as u64 != length {
            return Err(refuse(format!("it is truncated ({} of {length} bytes); copy it again or fit again", payload.len())));
        }
        if crc32fast::hash(payload) != number(12) {
            return Err(refuse("its checksum is wrong, so it is damaged; copy it again or fit again".into()));
        }
        let mut plain = Vec::new();
        ZlibDecoder::new(payload).read_to_end(&mut plain).map_err(|error| refuse(error.to_string()))?;
        let (fit, extra): (Fit, T) = ciborium::from_reader(plain.as_slice())
            .map_err(|_| refuse("its contents are not what this program writes; fit again".into()))?;
        if !fit.is_consistent() {
            return Err(refuse("its numbers do not belong together; fit again".into()));
        }
        Ok((fit, extra))
    }

    /// Reads a fit exactly as saved, whatever was saved beside it.
    ///
    /// # Errors
    /// As [`Fit::load_with`].
    pub fn load(path: impl AsRef<Path>) -> Result<Fit> {
        Ok(Fit::load_with::<Ignored>(path)?.0)
    }
}

/// Takes anything and keeps nothing.
struct Ignored;

impl<'de> Deserialize<'de> for Ignored {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        serde::de::IgnoredAny::deserialize(deserializer).map(|_| Ignored)
    }
}
