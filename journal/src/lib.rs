//! A durable log of records in one folder: the journal (what came in) and the outbox (what came
//! out).
//!
//! ```text
//! append ──▶ buffer ──write──▶ segment file ──sync──▶ durable end ──▶ Reader, Reader, …
//!         memcpy, CRC       one pwrite           one fdatasync        each at its own pace
//! ```
//!
//! - **J1 durable**: no record is called durable, or seen by a reader of the journal, before the
//!   fsync that makes it so; the file's own name is durable before its first record counts.
//! - **J2 never again**: a failed fsync is not repeated. The tail it left in doubt is dead for
//!   good, since the next segment's head says where the one before ended.
//! - **J3 nothing invented**: what is read was appended, byte for byte: CRC32C over head and
//!   payload, both bound to segment and offset, so that old bytes of a reserved block never come to
//!   life.
//! - **J4 neighbours**: damage costs the records it touches and no other; it is counted and copied
//!   to `damaged/`.
//! - **J5 it opens**: whatever a power cut leaves, the log opens, also on a full disk, appends go
//!   on, and only what was never called durable is cut. Where a file system copies on write and has
//!   no space even for that, opening says so: what may not be durable is not shown.
//! - **J6 one writer**: a second one is refused.
//!
//! How the bytes stand is told in the module `format`, how a torn tail is told from damage in
//! `recover`.
//!
//! It does not: compress, encrypt, replicate, interpret payloads or ordinals, or notice records
//! that are missing (gaps in the ordinals tell their writer).

mod cursor;
mod cut;
mod disk;
mod format;
mod log;
mod options;
mod reader;
mod real;
mod recover;
mod set_aside;
mod shared;
pub mod sim;
mod walk;

pub use cursor::{CursorError, CursorFile, atomic_write, read_file};
pub use disk::{Disk, DiskFile, is_full};
pub use format::{Appended, End};
pub use log::Log;
pub use options::{
    AppendError, CutError, Damage, LogOptions, OpenError, Opened, ReadError, Visible, WriteError,
};
pub use reader::{ReadFrom, Reader, Record};
pub use real::RealDisk;
pub use shared::{Published, Watch};
