//! `state::list_entries` on Redis: the script brings the entries that a page may show, and here it is seen which ones fit.

use super::resp::Reply;
use super::scripts::{Loaded, Script};
use super::task::{entry, not_ours, number, text};
use crate::codec::json::write_string;
use crate::error::WireError;
use crate::state::{PAGE_LOOKED_MAX, Page, PageOf, RowTooLarge};

pub(super) fn ask(of: &PageOf<'_>, now_ms: u64, loaded: &Loaded, out: &mut Vec<u8>) {
    let from = of.after.map_or_else(|| "-inf".to_owned(), |seq| format!("({seq}"));
    let mut command = loaded.call(out, Script::Page, 7);
    command.arg(&*of.scope).number(now_ms).arg(of.prefix.as_deref().unwrap_or_default()).arg(from);
    command.number(of.limit as u64).number(PAGE_LOOKED_MAX as u64).number(of.bytes_max as u64);
}

pub(super) fn read(of: &PageOf<'_>, items: &[Reply<'_>]) -> Result<Page, WireError> {
    let [Reply::Int(total), Reply::Int(more), last, rows @ ..] = items else { return Err(not_ours()) };
    let total = u64::try_from(*total).map_err(|_| not_ours())?;
    let mut page = Page { entries: Vec::new(), next: None, total };
    let (mut bytes, mut name) = (0, Vec::new());
    for row in rows.chunks_exact(3) {
        let (key, raw) = (text(&row[0])?, entry(&row[1])?.ok_or_else(not_ours)?);
        name.clear();
        write_string(&mut name, key);
        let stored = raw.stored();
        let row_bytes = name.len() + stored.len() + 3;
        let comma = usize::from(!page.entries.is_empty());
        if bytes + comma + row_bytes > of.bytes_max {
            if comma == 0 {
                return Err(RowTooLarge { key: key.into(), bytes: row_bytes }.into_error(of.bytes_max));
            }
            page.next = looked_at(&row[2], of)?;
            return Ok(page);
        }
        bytes += comma + row_bytes;
        page.entries.push((key.into(), stored));
    }
    if *more == 1 {
        page.next = looked_at(last, of)?;
    }
    Ok(page)
}

/// An insertion number; where nothing was looked at, the one that the page began behind.
fn looked_at(item: &Reply<'_>, of: &PageOf<'_>) -> Result<Option<u64>, WireError> {
    match item {
        Reply::Bulk(b"") => Ok(of.after),
        Reply::Bulk(digits) => number(digits).map(Some),
        _ => Err(not_ours()),
    }
}
