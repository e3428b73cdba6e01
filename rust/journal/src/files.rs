//! The few things that are done with files, behind a seam: tests put a disk there that fails and loses power when they want, and draws the
//! numbers they want.
//!
//! All names are of files in one directory; `salvaged-N/name` is the only path with a directory in it.

use rustix::fs::{Advice, FlockOperation, fadvise, flock};
use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};
use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, Read, Write};
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

/// Bytes of a file that leave the system's cache at once.
const FORGOTTEN_AT_ONCE: u64 = 256 << 10;

/// A file as a listing shows it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// Its length.
    pub bytes: u64,
}

/// Keeps a directory locked until it is dropped.
pub trait Lock: Send + Sync {}

/// The files of one directory.
pub trait Files: Send + Sync {
    /// What the directory is called in messages.
    fn directory(&self) -> &Path;

    /// Makes the directory if it is not there, and locks it. `None`: somebody else has the lock.
    ///
    /// # Errors
    /// The system's.
    fn lock(&self) -> io::Result<Option<Box<dyn Lock>>>;

    /// The files, sorted by name; no directories.
    ///
    /// # Errors
    /// The system's.
    fn list(&self) -> io::Result<Vec<Listed>>;

    /// The first `limit` bytes of a file, or all that it has.
    ///
    /// # Errors
    /// The system's.
    fn read(&self, name: &str, limit: u64) -> io::Result<Vec<u8>>;

    /// Makes an empty file, also in the place of one that is there.
    ///
    /// # Errors
    /// The system's.
    fn create(&self, name: &str) -> io::Result<Box<dyn Output>>;

    /// Cuts a file to `bytes` and brings it to the disk as it is then.
    ///
    /// # Errors
    /// The system's.
    fn truncate(&self, name: &str, bytes: u64) -> io::Result<()>;

    /// Gives a file another name, over whatever has that name.
    ///
    /// # Errors
    /// The system's.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// The system's.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Takes a file that nobody will read out of the system's cache, as far as it can, calling `rest` after each piece: who removes a file
    /// that is still in the cache holds the processor for milliseconds, while the system gives up all its pages.
    fn forget(&self, name: &str, rest: &dyn Fn());

    /// Makes a directory in this one.
    ///
    /// # Errors
    /// The system's.
    fn make_directory(&self, name: &str) -> io::Result<()>;

    /// A number that nobody can know before.
    ///
    /// # Errors
    /// The system's.
    fn random(&self) -> io::Result<u64>;

    /// Brings the names to the disk: of this directory, or of the one in it.
    ///
    /// # Errors
    /// The system's.
    fn sync_names(&self, inner: Option<&str>) -> io::Result<()>;
}

/// A file that is written from its beginning to its end.
pub trait Output: Send + Sync {
    /// Appends the parts, one behind the other. After an error any number of their bytes may be there.
    ///
    /// # Errors
    /// The system's.
    fn append(&self, parts: &[&[u8]]) -> io::Result<()>;

    /// Brings everything that was appended before the call to the disk. Callable while others append.
    ///
    /// # Errors
    /// The system's.
    fn sync(&self) -> io::Result<()>;

    /// Has the disk begin with what was appended, without waiting for it, and takes what is there out of the system's cache, as far as it
    /// can: what nobody will read, and what would otherwise be written in one go by the next `sync`.
    fn spill(&self);

    /// Another handle to sync the same file through, also while this one does. A system tells each handle once of what could not be
    /// written: so the one hears of it although the other was told.
    ///
    /// # Errors
    /// The system's.
    fn twin(&self) -> io::Result<Box<dyn Output>>;
}

/// A directory of the operating system.
pub struct Directory(PathBuf);

impl Directory {
    /// Nothing is touched yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Directory(path.into())
    }

    /// Makes the directory with whatever is missing above it; for the owner only, since state may be anything.
    pub(crate) fn make(&self) -> io::Result<()> {
        use std::os::unix::fs::DirBuilderExt;
        let missing: Vec<&Path> = self.0.ancestors().take_while(|path| !is_there(path)).collect();
        for path in missing.into_iter().rev() {
            std::fs::DirBuilder::new().mode(0o700).create(path)?;
            let above = path.parent().filter(|above| !above.as_os_str().is_empty());
            File::open(above.unwrap_or(Path::new(".")))?.sync_all()?;
        }
        Ok(())
    }
}

/// Whether there is something at `path`; the empty one is the working directory.
pub(crate) fn is_there(path: &Path) -> bool {
    path.as_os_str().is_empty() || path.exists()
}

struct Held(#[allow(dead_code, reason = "closing it gives the lock up")] File);
impl Lock for Held {}

impl Files for Directory {
    fn directory(&self) -> &Path {
        &self.0
    }

    fn lock(&self) -> io::Result<Option<Box<dyn Lock>>> {
        self.make()?;
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(self.0.join("lock"))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Box::new(Held(file)))),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn list(&self) -> io::Result<Vec<Listed>> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.0)? {
            let entry = entry?;
            let metadata = match entry.metadata() {
                Ok(metadata) => metadata,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue, // gone meanwhile
                Err(error) => return Err(error),
            };
            if let (true, Ok(name)) = (metadata.is_file(), entry.file_name().into_string()) {
                found.push(Listed { name, bytes: metadata.len() });
            }
        }
        found.sort();
        Ok(found)
    }

    fn read(&self, name: &str, limit: u64) -> io::Result<Vec<u8>> {
        let file = File::open(self.0.join(name))?;
        let expected = file.metadata()?.len().min(limit);
        let mut bytes = Vec::with_capacity(usize::try_from(expected).unwrap_or(0));
        file.take(limit).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn Output>> {
        let path = self.0.join(name);
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(&path)?;
        Ok(Box::new(Appended { file, path }))
    }

    fn truncate(&self, name: &str, bytes: u64) -> io::Result<()> {
        let file = OpenOptions::new().write(true).open(self.0.join(name))?;
        file.set_len(bytes)?;
        file.sync_all()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.0.join(from), self.0.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.0.join(name))
    }

    fn forget(&self, name: &str, rest: &dyn Fn()) {
        let Ok(file) = File::open(self.0.join(name)) else { return };
        let bytes = file.metadata().map_or(0, |metadata| metadata.len());
        let mut end = 0;
        while end < bytes {
            end += FORGOTTEN_AT_ONCE;
            // From the beginning: pages that lie across the end of one piece go with the next.
            if fadvise(&file, 0, NonZeroU64::new(end), Advice::DontNeed).is_err() {
                return;
            }
            rest();
        }
    }

    fn make_directory(&self, name: &str) -> io::Result<()> {
        std::fs::create_dir(self.0.join(name))
    }

    fn random(&self) -> io::Result<u64> {
        let mut bytes = [0; 8];
        // So few bytes come whole, or not at all.
        match getrandom(&mut bytes[..], GetRandomFlags::empty())? {
            8 => Ok(u64::from_le_bytes(bytes)),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    fn sync_names(&self, inner: Option<&str>) -> io::Result<()> {
        File::open(inner.map_or_else(|| self.0.clone(), |inner| self.0.join(inner)))?.sync_all()
    }
}

/// A file of the operating system, and where it is.
struct Appended {
    file: File,
    path: PathBuf,
}

impl Output for Appended {
    fn append(&self, parts: &[&[u8]]) -> io::Result<()> {
        let mut slices: Vec<IoSlice<'_>> =
            parts.iter().filter(|part| !part.is_empty()).map(|part| IoSlice::new(part)).collect();
        let mut left = slices.as_mut_slice();
        let mut file = &self.file;
        while !left.is_empty() {
            match file.write_vectored(left) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => IoSlice::advance_slices(&mut left, written),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn spill(&self) {
        // A hint: who does not take it writes at the next sync.
        let _ = fadvise(&self.file, 0, None, Advice::DontNeed);
    }

    fn twin(&self) -> io::Result<Box<dyn Output>> {
        let path = self.path.clone();
        Ok(Box::new(Appended { file: OpenOptions::new().append(true).open(&path)?, path }))
    }
}
