//! A disk in memory: knows what was synced, fails where it is told to, and can lose its power.

use iii_fast_journal::files::{Files, Listed, Lock, Output};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

pub const NO_SPACE: i32 = 28;
pub const BROKEN: i32 = 5;
/// No error of the disk, but a bug: the operation panics.
pub const PANIC: i32 = 0;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Create,
    Append,
    Sync,
    Names,
    Rename,
    Remove,
    Truncate,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy)]
pub struct Fault {
    /// Only operations of this kind count; none: all.
    pub kind: Option<Kind>,
    /// The operation that fails, from 1.
    pub nth: usize,
    pub error: i32,
    /// Whether everything fails from then on.
    pub forever: bool,
}

/// What a crash leaves.
#[derive(Debug, Clone, Copy)]
pub enum Loss {
    /// The process was killed.
    Nothing,
    /// Everything that was not synced is gone.
    Unsynced,
    /// Some of what was not synced is gone, by this number.
    Some(u64),
}

#[derive(Clone, Default)]
struct Inode {
    data: Vec<u8>,
    synced: usize,
    /// A sync has failed: what was not on the disk then never will be, whatever a later sync says.
    lost: bool,
    forgotten: bool,
}

#[derive(Clone, Default)]
struct Inner {
    inodes: Vec<Inode>,
    names: BTreeMap<String, usize>,
    durable: BTreeMap<String, usize>,
    fault: Option<(Fault, usize)>,
    failed: bool,
    locked: bool,
    /// Who has appended, in order.
    appended_by: Vec<ThreadId>,
    append_takes: Duration,
    /// Files that went while they were in the cache of the system.
    gone_at_once: Vec<String>,
}

impl Inner {
    fn unlink(&mut self, name: &str) {
        if let Some(id) = self.names.remove(name)
            && !self.inodes[id].forgotten
        {
            self.gone_at_once.push(name.to_owned());
        }
    }
}

#[derive(Clone, Default)]
pub struct Disk(Arc<Mutex<Inner>>);

impl Disk {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn fail(&self, fault: Fault) {
        self.inner().fault = Some((fault, 0));
    }

    /// Nothing fails any more.
    pub fn mend(&self) {
        let mut inner = self.inner();
        (inner.fault, inner.failed) = (None, false);
    }

    /// Whether the fault has come.
    pub fn has_failed(&self) -> bool {
        self.inner().failed
    }

    /// Every append takes at least so long from now on.
    pub fn slow_down(&self, append_takes: Duration) {
        self.inner().append_takes = append_takes;
    }

    /// Files that were removed or replaced without having been forgotten before.
    pub fn gone_at_once(&self) -> Vec<String> {
        self.inner().gone_at_once.clone()
    }

    /// Who has appended last.
    pub fn last_appended_by(&self) -> Option<ThreadId> {
        self.inner().appended_by.last().copied()
    }

    /// The files as they are.
    pub fn contents(&self) -> BTreeMap<String, Vec<u8>> {
        let inner = self.inner();
        inner.names.iter().map(|(name, &id)| (name.clone(), inner.inodes[id].data.clone())).collect()
    }

    /// A disk on which these files are, all on the disk.
    pub fn with(contents: &BTreeMap<String, Vec<u8>>) -> Disk {
        let mut inner = Inner::default();
        for (id, (name, data)) in contents.iter().enumerate() {
            inner.inodes.push(Inode { data: data.clone(), synced: data.len(), lost: false, forgotten: false });
            inner.names.insert(name.clone(), id);
        }
        inner.durable = inner.names.clone();
        Disk(Arc::new(Mutex::new(inner)))
    }

    /// Bytes of a file that are on the disk for certain.
    pub fn synced_bytes(&self, name: &str) -> usize {
        let inner = self.inner();
        inner.inodes[inner.names[name]].synced
    }

    /// What a crash at this instant leaves for the next start.
    pub fn crash(&self, loss: Loss) -> Disk {
        let mut inner = self.inner().clone();
        (inner.fault, inner.failed, inner.locked) = (None, false, false);
        match loss {
            Loss::Nothing => {}
            Loss::Unsynced => {
                inner.names = inner.durable.clone();
                inner.inodes.iter_mut().for_each(|inode| inode.data.truncate(inode.synced));
            }
            Loss::Some(seed) => inner.lose_some(&mut Random(seed)),
        }
        inner.durable = inner.names.clone();
        for inode in &mut inner.inodes {
            (inode.synced, inode.lost) = (inode.data.len(), false);
        }
        Disk(Arc::new(Mutex::new(inner)))
    }
}

impl Inner {
    fn lose_some(&mut self, random: &mut Random) {
        let names: Vec<String> = self.names.keys().chain(self.durable.keys()).cloned().collect();
        for name in names {
            if random.below(2) == 0 {
                match self.durable.get(&name) {
                    Some(&id) => self.names.insert(name, id),
                    None => self.names.remove(&name),
                };
            }
        }
        for inode in &mut self.inodes {
            let unsynced = inode.data.len() - inode.synced;
            inode.data.truncate(inode.synced + random.below(unsynced + 1));
            let left = inode.data.len() - inode.synced;
            if left > 0 && random.below(2) == 0 {
                // A page in the middle did not make it.
                let from = inode.synced + random.below(left);
                let to = (from + 1 + random.below(64)).min(inode.data.len());
                inode.data[from..to].fill(0);
            }
        }
    }

    /// Counts an operation; whether it fails.
    fn step(&mut self, kind: Kind) -> io::Result<()> {
        let Some((fault, count)) = &mut self.fault else { return Ok(()) };
        if self.failed && fault.forever {
            return Err(io::Error::from_raw_os_error(fault.error));
        }
        *count += usize::from(fault.kind.is_none_or(|wanted| wanted == kind));
        if self.failed || *count < fault.nth {
            return Ok(());
        }
        self.failed = true;
        assert!(fault.error != PANIC, "a bug under test");
        Err(io::Error::from_raw_os_error(fault.error))
    }

    fn find(&self, name: &str) -> io::Result<usize> {
        self.names.get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// Numbers that look random and are always the same (splitmix64).
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % n as u64) as usize
    }
}

struct Held(Disk);

impl Lock for Held {}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.inner().locked = false;
    }
}

impl Files for Disk {
    fn directory(&self) -> &Path {
        Path::new("memory")
    }

    fn lock(&self) -> io::Result<Option<Box<dyn Lock>>> {
        let was_locked = std::mem::replace(&mut self.inner().locked, true);
        Ok((!was_locked).then(|| Box::new(Held(self.clone())) as Box<dyn Lock>))
    }

    fn list(&self) -> io::Result<Vec<Listed>> {
        let inner = self.inner();
        let own = inner.names.iter().filter(|(name, _)| !name.contains('/'));
        Ok(own.map(|(name, &id)| Listed { name: name.clone(), bytes: inner.inodes[id].data.len() as u64 }).collect())
    }

    fn read(&self, name: &str, limit: u64) -> io::Result<Vec<u8>> {
        let inner = self.inner();
        let data = &inner.inodes[inner.find(name)?].data;
        Ok(data[..data.len().min(limit as usize)].to_vec())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn Output>> {
        let mut inner = self.inner();
        inner.step(Kind::Create)?;
        let id = inner.inodes.len();
        inner.inodes.push(Inode::default());
        inner.names.insert(name.to_owned(), id);
        Ok(Box::new(Open { disk: self.clone(), id }))
    }

    fn truncate(&self, name: &str, bytes: u64) -> io::Result<()> {
        let mut inner = self.inner();
        inner.step(Kind::Truncate)?;
        let id = inner.find(name)?;
        let inode = &mut inner.inodes[id];
        inode.data.truncate(bytes as usize);
        inode.synced = inode.data.len();
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut inner = self.inner();
        inner.step(Kind::Rename)?;
        let id = inner.find(from)?;
        inner.names.remove(from);
        inner.unlink(to);
        inner.names.insert(to.to_owned(), id);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut inner = self.inner();
        inner.step(Kind::Remove)?;
        inner.find(name)?;
        inner.unlink(name);
        Ok(())
    }

    fn forget(&self, name: &str, rest: &dyn Fn()) {
        let mut inner = self.inner();
        if let Ok(id) = inner.find(name) {
            inner.inodes[id].forgotten = true;
        }
        drop(inner);
        rest();
    }

    fn make_directory(&self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn random(&self) -> io::Result<u64> {
        static DRAWN: AtomicU64 = AtomicU64::new(0);
        Ok(Random(DRAWN.fetch_add(1, Ordering::Relaxed)).below(usize::MAX) as u64)
    }

    fn sync_names(&self, inner_directory: Option<&str>) -> io::Result<()> {
        let mut inner = self.inner();
        inner.step(Kind::Names)?;
        let is_in = |name: &String| name.split_once('/').map(|(directory, _)| directory) == inner_directory;
        let now: Vec<(String, usize)> =
            inner.names.iter().filter(|(name, _)| is_in(name)).map(|(name, &id)| (name.clone(), id)).collect();
        inner.durable.retain(|name, _| !is_in(name));
        inner.durable.extend(now);
        Ok(())
    }
}

struct Open {
    disk: Disk,
    id: usize,
}

impl Output for Open {
    fn append(&self, parts: &[&[u8]]) -> io::Result<()> {
        let mut inner = self.disk.inner();
        inner.appended_by.push(std::thread::current().id());
        let begun = Instant::now();
        while begun.elapsed() < inner.append_takes {
            std::thread::yield_now();
        }
        let result = inner.step(Kind::Append);
        let bytes = parts.concat();
        let written = if result.is_ok() { bytes.len() } else { bytes.len() / 2 };
        inner.inodes[self.id].data.extend_from_slice(&bytes[..written]);
        result
    }

    fn sync(&self) -> io::Result<()> {
        let mut inner = self.disk.inner();
        let result = inner.step(Kind::Sync);
        let inode = &mut inner.inodes[self.id];
        inode.lost |= result.is_err();
        if !inode.lost {
            inode.synced = inode.data.len();
        }
        result
    }

    fn spill(&self) {}

    fn twin(&self) -> io::Result<Box<dyn Output>> {
        Ok(Box::new(Open { disk: self.disk.clone(), id: self.id }))
    }
}
