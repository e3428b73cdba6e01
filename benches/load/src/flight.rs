//! Invocations in flight on one connection: their ids, when they left, and which were never answered.

use crate::hex::{read_hex, write_hex};
use crate::random::Random;

/// Length of a UUID in canonical form.
pub const ID_BYTES: usize = 36;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Free,
    Waiting,
    /// Not answered within the deadline; the slot is never used again, so a late answer is recognised.
    Lost,
}

struct Slot<T> {
    fate: Fate,
    id: [u8; ID_BYTES],
    sent: u64,
    what: T,
}

/// A fixed number of slots; the id of an invocation names its slot, so that matching an answer is one look.
pub struct Flights<T> {
    slots: Vec<Slot<T>>,
    random: Random,
    connection: u16,
    count: u64,
}

/// An answer that fits.
pub struct Landed<T> {
    /// The slot that is free again.
    pub slot: usize,
    /// Nanoseconds from sending to reading.
    pub took: u64,
    /// What was remembered about it.
    pub what: T,
}

/// An answer that does not fit.
#[derive(Debug, PartialEq, Eq)]
pub enum Stray {
    /// It came after its deadline.
    Late,
    /// Nobody waits for this id (any more).
    Unknown,
}

impl<T: Copy> Flights<T> {
    /// `in_flight` slots; ids are UUIDs (version 4 in form) that no other connection makes.
    pub fn new(in_flight: usize, connection: usize, seed: u64, empty: T) -> Self {
        let slot = || Slot { fate: Fate::Free, id: [0; ID_BYTES], sent: 0, what: empty };
        Self {
            slots: std::iter::repeat_with(slot).take(in_flight).collect(),
            random: Random::new(seed, connection as u64),
            connection: connection as u16,
            count: 0,
        }
    }

    /// Occupies a free slot at time `now` and returns the new id.
    #[inline]
    pub fn launch(&mut self, slot: usize, what: T, now: u64) -> &[u8; ID_BYTES] {
        self.count += 1;
        let id = make_id(self.random.next(), slot as u16, self.connection, self.count);
        let entry = &mut self.slots[slot];
        *entry = Slot { fate: Fate::Waiting, id, sent: now, what };
        &entry.id
    }

    /// Matches an answer that was read at `now`.
    #[inline]
    pub fn land(&mut self, id: &[u8], now: u64) -> Result<Landed<T>, Stray> {
        let slot = slot_of(id).ok_or(Stray::Unknown)?;
        let entry = self.slots.get_mut(slot).filter(|entry| entry.id == id).ok_or(Stray::Unknown)?;
        match entry.fate {
            Fate::Waiting => {
                entry.fate = Fate::Free;
                Ok(Landed { slot, took: now.saturating_sub(entry.sent), what: entry.what })
            }
            Fate::Lost => Err(Stray::Late),
            Fate::Free => Err(Stray::Unknown),
        }
    }

    /// Gives up on everything sent before `oldest`; returns the ids.
    pub fn give_up_before(&mut self, oldest: u64) -> Vec<String> {
        let overdue = self.slots.iter_mut().filter(|entry| entry.fate == Fate::Waiting && entry.sent < oldest);
        overdue
            .map(|entry| {
                entry.fate = Fate::Lost;
                String::from_utf8_lossy(&entry.id).into_owned()
            })
            .collect()
    }

    /// The slots that can be launched.
    pub fn free_slots(&self) -> Vec<usize> {
        (0..self.slots.len()).filter(|slot| self.slots[*slot].fate == Fate::Free).collect()
    }
}

/// `rrrrrrrr-ssss-4rrr-8ccc-nnnnnnnnnnnn`: random, slot, connection and number of the invocation on it.
#[inline]
fn make_id(random: u64, slot: u16, connection: u16, count: u64) -> [u8; ID_BYTES] {
    let mut id = *b"00000000-0000-4000-8000-000000000000";
    write_hex(&mut id[..8], random >> 32);
    write_hex(&mut id[9..13], slot.into());
    write_hex(&mut id[15..18], random);
    write_hex(&mut id[20..23], connection.into());
    write_hex(&mut id[24..], count);
    id
}

#[inline]
fn slot_of(id: &[u8]) -> Option<usize> {
    (id.len() == ID_BYTES).then_some(())?;
    read_hex(&id[9..13]).map(|slot| slot as usize)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail loudly")]
mod tests {
    use super::*;

    #[test]
    fn an_answer_lands_once_and_in_its_slot() {
        let mut flights = Flights::new(3, 5, 1, ' ');
        let first = *flights.launch(2, 'a', 100);
        let second = *flights.launch(0, 'b', 110);
        assert_ne!(first, second);
        let landed = flights.land(&first, 150).ok().unwrap();
        assert_eq!((landed.slot, landed.took, landed.what), (2, 50, 'a'));
        assert_eq!(flights.land(&first, 160).err(), Some(Stray::Unknown));
        let mut changed = second;
        changed[35] ^= 1;
        assert_eq!(flights.land(&changed, 160).err(), Some(Stray::Unknown));
        assert_eq!(flights.free_slots(), [1, 2]);
    }

    #[test]
    fn what_is_overdue_is_lost_and_recognised_when_it_comes_late() {
        let mut flights = Flights::new(2, 0, 1, ());
        let old = *flights.launch(0, (), 10);
        let _ = flights.launch(1, (), 20);
        assert_eq!(flights.give_up_before(20), [String::from_utf8_lossy(&old)]);
        assert!(flights.give_up_before(20).is_empty());
        assert_eq!(flights.land(&old, 30).err(), Some(Stray::Late));
        assert!(flights.free_slots().is_empty());
    }

    #[test]
    fn ids_are_canonical_version_4_uuids() {
        let id = make_id(u64::MAX, 0xabc, 0x123, 7);
        assert_eq!(&id, b"ffffffff-0abc-4fff-8123-000000000007");
        assert_eq!(slot_of(&id), Some(0xabc));
        assert_eq!(slot_of(b"x"), None);
    }
}
