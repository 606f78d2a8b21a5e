//! Binary COPY: rows are encoded into one buffer and sent at once (a send is a flush).

use bytes::{Buf as _, BufMut, Bytes, BytesMut};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::failpoint::{Step, reach};

/// Microseconds from 1970 to 2000, where PostgreSQL's timestamps begin.
const EPOCH_2000_MICROS: i64 = 946_684_800_000_000;
/// Days from 1970 to 2000.
const EPOCH_2000_DAYS: i32 = 10_957;
/// The server holds a message whole; a send is a flush.
const SEND_BYTES_MAX: usize = 4 * 1024 * 1024;
const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// What ends the rows.
const TRAILER_BYTES: usize = 2;

/// Rows for `COPY … FROM STDIN BINARY`. Each row is `begin_row` and one `put_*` a column, in the statement's order and
/// with the columns' exact types (PostgreSQL casts nothing here).
#[derive(Debug)]
pub struct CopyBuffer {
    bytes: BytesMut,
    columns: i16,
    rows: u64,
}

impl CopyBuffer {
    /// For rows of this many columns.
    pub fn new(columns: i16) -> Self {
        Self::with_capacity(columns, 8 * 1024)
    }

    /// The same with room for `bytes`.
    pub fn with_capacity(columns: i16, bytes: usize) -> Self {
        let mut buffer = BytesMut::with_capacity(bytes.max(64));
        buffer.put_slice(SIGNATURE);
        Self { bytes: buffer, columns, rows: 0 }
    }

    /// How many rows were begun.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// How many bytes its rows take.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// No row was begun: there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// The same rows in buffers of at least so many bytes, but for the last, and at most one row more.
    pub(crate) fn into_helpings(self, bytes: usize) -> impl Iterator<Item = Self> {
        debug_assert!(bytes > 0, "a helping has a row at least");
        let Self { bytes: mut left, columns, .. } = self;
        left.advance(SIGNATURE.len());
        std::iter::from_fn(move || {
            let (mut end, mut rows) = (0, 0);
            while end < left.len().min(bytes) {
                end = row_end(&left, end);
                rows += 1;
            }
            let mut helping = Self { rows, ..Self::with_capacity(columns, SIGNATURE.len() + end + TRAILER_BYTES) };
            helping.bytes.put_slice(&left.split_to(end));
            (rows > 0).then_some(helping)
        })
    }

    /// Begins the next row.
    pub fn begin_row(&mut self) -> &mut Self {
        self.bytes.put_i16(self.columns);
        self.rows += 1;
        self
    }

    /// NULL.
    pub fn put_null(&mut self) -> &mut Self {
        self.bytes.put_i32(-1);
        self
    }

    /// `boolean`.
    pub fn put_bool(&mut self, value: bool) -> &mut Self {
        self.field(&[u8::from(value)])
    }

    /// `smallint`.
    pub fn put_i16(&mut self, value: i16) -> &mut Self {
        self.field(&value.to_be_bytes())
    }

    /// `integer`.
    pub fn put_i32(&mut self, value: i32) -> &mut Self {
        self.field(&value.to_be_bytes())
    }

    /// `bigint`.
    pub fn put_i64(&mut self, value: i64) -> &mut Self {
        self.field(&value.to_be_bytes())
    }

    /// `double precision`.
    pub fn put_f64(&mut self, value: f64) -> &mut Self {
        self.field(&value.to_be_bytes())
    }

    /// `uuid`.
    pub fn put_uuid(&mut self, value: Uuid) -> &mut Self {
        self.field(value.as_bytes())
    }

    /// `text`, `varchar`, `json`.
    pub fn put_text(&mut self, value: &str) -> &mut Self {
        self.field(value.as_bytes())
    }

    /// `bytea`.
    pub fn put_bytes(&mut self, value: &[u8]) -> &mut Self {
        self.field(value)
    }

    /// `jsonb`, from its text.
    pub fn put_jsonb(&mut self, text: &[u8]) -> &mut Self {
        self.length(text.len() + 1);
        self.bytes.put_u8(1);
        self.bytes.put_slice(text);
        self
    }

    /// `timestamptz`, from microseconds since 1970 UTC.
    pub fn put_timestamptz(&mut self, micros: i64) -> &mut Self {
        self.put_i64(micros.saturating_sub(EPOCH_2000_MICROS))
    }

    /// `date`, from days since 1970.
    pub fn put_date(&mut self, days: i32) -> &mut Self {
        self.put_i32(days.saturating_sub(EPOCH_2000_DAYS))
    }

    /// `numeric`, from plain decimal text (`-12.340`; no exponent). The digits after the point are its scale.
    pub fn put_numeric(&mut self, plain: &str) -> &mut Self {
        let encoded = numeric(plain);
        self.field(&encoded)
    }

    /// `text[]`.
    pub fn put_text_array<T: AsRef<str>>(&mut self, values: &[T]) -> &mut Self {
        self.array(25, values, |value| value.as_ref().as_bytes())
    }

    /// `uuid[]`.
    pub fn put_uuid_array(&mut self, values: &[Uuid]) -> &mut Self {
        self.array(2950, values, |value| value.as_bytes().as_slice())
    }

    /// `bigint[]`.
    pub fn put_i64_array(&mut self, values: &[i64]) -> &mut Self {
        let values: Vec<[u8; 8]> = values.iter().map(|value| value.to_be_bytes()).collect();
        self.array(20, &values, <[u8; 8]>::as_slice)
    }

    /// `timestamptz[]`, each from microseconds since 1970 UTC.
    pub fn put_timestamptz_array(&mut self, micros: &[i64]) -> &mut Self {
        let since_2000 = |at: &i64| at.saturating_sub(EPOCH_2000_MICROS).to_be_bytes();
        let values: Vec<[u8; 8]> = micros.iter().map(since_2000).collect();
        self.array(1184, &values, <[u8; 8]>::as_slice)
    }

    /// The value, or NULL: `buffer.put_opt(total, CopyBuffer::put_i64)`.
    pub fn put_opt<T>(&mut self, value: Option<T>, put: impl FnOnce(&mut Self, T) -> &mut Self) -> &mut Self {
        match value {
            Some(value) => put(self, value),
            None => self.put_null(),
        }
    }

    /// Ends the buffer: what is to be sent.
    pub fn finish(mut self) -> Bytes {
        self.bytes.put_i16(-1);
        self.bytes.freeze()
    }

    fn field(&mut self, bytes: &[u8]) -> &mut Self {
        self.length(bytes.len());
        self.bytes.put_slice(bytes);
        self
    }

    fn length(&mut self, bytes: usize) {
        self.bytes.put_i32(i32::try_from(bytes).expect("a field is far below PostgreSQL's limit of 1 GiB"));
    }

    fn array<'v, T>(&mut self, oid: i32, values: &'v [T], bytes: impl Fn(&'v T) -> &'v [u8]) -> &mut Self {
        let count = values.len();
        let dimensions = usize::from(count > 0);
        let size = 12 + dimensions * 8 + values.iter().map(|v| 4 + bytes(v).len()).sum::<usize>();
        self.length(size);
        self.bytes.put_i32(if count > 0 { 1 } else { 0 });
        self.bytes.put_i32(0);
        self.bytes.put_i32(oid);
        if count > 0 {
            self.length(count);
            self.bytes.put_i32(1);
        }
        for value in values {
            self.field(bytes(value));
        }
        self
    }
}

/// Where the row ends that begins there.
fn row_end(bytes: &[u8], begin: usize) -> usize {
    let mut rest = &bytes[begin..];
    for _ in 0..rest.get_i16() {
        // Less than none says NULL.
        let length = usize::try_from(rest.get_i32()).unwrap_or(0);
        rest.advance(length);
    }
    bytes.len() - rest.len()
}

/// PostgreSQL's binary numeric: groups of four decimal digits around the point.
fn numeric(plain: &str) -> Vec<u8> {
    let (negative, digits) = plain.strip_prefix('-').map_or((false, plain), |rest| (true, rest));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let whole = whole.trim_start_matches('0');
    let padded = format!(
        "{}{whole}{fraction}{}",
        "0".repeat((4 - whole.len() % 4) % 4),
        "0".repeat((4 - fraction.len() % 4) % 4)
    );
    let groups: Vec<i16> = padded
        .as_bytes()
        .chunks(4)
        .map(|c| c.iter().fold(0, |n, d| n * 10 + i16::from(d.saturating_sub(b'0'))))
        .collect();
    let mut weight = whole.len().div_ceil(4) as i16 - 1;
    let leading = groups.iter().take_while(|g| **g == 0).count();
    let trailing = groups[leading..].iter().rev().take_while(|g| **g == 0).count();
    let groups = &groups[leading..groups.len() - trailing];
    weight -= leading as i16;
    if groups.is_empty() {
        weight = 0;
    }
    let mut out = Vec::with_capacity(8 + groups.len() * 2);
    out.put_i16(groups.len() as i16);
    out.put_i16(weight);
    out.put_u16(if negative && !groups.is_empty() { 0x4000 } else { 0 });
    out.put_u16(fraction.len() as u16);
    groups.iter().for_each(|g| out.put_i16(*g));
    out
}

/// Sends the rows: `statement` is `COPY t(a, b) FROM STDIN BINARY`. Sends nothing for an empty buffer.
///
/// # Errors
/// What PostgreSQL says, a unique violation (23505) among it.
pub async fn copy_in(connection: &mut PgConnection, statement: &str, buffer: CopyBuffer) -> Result<u64, sqlx::Error> {
    if buffer.is_empty() {
        return Ok(0);
    }
    let mut copy = connection.copy_in_raw(statement).await?;
    let bytes = buffer.finish();
    for start in (0..bytes.len()).step_by(SEND_BYTES_MAX) {
        let some = bytes.slice(start..bytes.len().min(start + SEND_BYTES_MAX));
        if let Err(error) = copy.send(some).await {
            // The reason stands in the answer that ends the COPY, not in the broken send.
            return match copy.abort("the rows could not be sent").await {
                Err(reason) => Err(reason),
                Ok(()) => Err(error),
            };
        }
    }
    reach(Step::InCopy);
    copy.finish().await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(count: i64) -> CopyBuffer {
        let mut rows = CopyBuffer::new(3);
        for row in 0..count {
            rows.begin_row().put_i64(row).put_null().put_text(&"x".repeat(usize::try_from(row % 7).expect("small")));
        }
        rows
    }

    #[test]
    fn helpings_are_whole_rows_and_together_all_of_them() {
        let whole = rows(100);
        let of_rows = |buffer: &CopyBuffer| buffer.bytes[SIGNATURE.len()..].to_vec();
        for bytes in [1, 22, 23, 200, 1_000, 1_000_000] {
            let helpings: Vec<CopyBuffer> = rows(100).into_helpings(bytes).collect();
            assert_eq!(helpings.iter().map(CopyBuffer::rows).sum::<u64>(), 100);
            assert_eq!(helpings.iter().flat_map(of_rows).collect::<Vec<u8>>(), of_rows(&whole));
            for helping in &helpings {
                let of_rows = of_rows(helping);
                let (mut end, mut count) = (0, 0);
                while end < of_rows.len() {
                    assert!(end < bytes, "one row less would do");
                    end = row_end(&of_rows, end);
                    count += 1;
                }
                assert_eq!((end, count), (of_rows.len(), helping.rows()));
                assert!(helping.bytes.starts_with(SIGNATURE));
            }
            let all_but_the_last = &helpings[..helpings.len() - 1];
            assert!(all_but_the_last.iter().all(|helping| of_rows(helping).len() >= bytes));
        }
        assert_eq!(rows(0).into_helpings(1).count(), 0);
    }
}
