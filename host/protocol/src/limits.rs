//! Sizes that no peer may exceed.
//!
//! A frame over a limit is refused before it is decoded. The numbers bound
//! memory per peer; a payload that does not fit travels as a stream of chunks.

/// The longest kind, in bytes. Kinds are file stems, so this is also below the
/// limit of common file systems.
pub const KIND_BYTES: usize = 128;

/// The longest container uuid or other id, in bytes. Huly's uuids are short
/// (`transactor:` and a workspace), so this is generous.
pub const ID_BYTES: usize = 256;

/// The longest name of an account or a workspace, in bytes: half of
/// [`ID_BYTES`], so that the uuid of a container can be made of one.
pub const NAME_BYTES: usize = ID_BYTES / 2;

/// The longest operation name, in bytes.
pub const OPERATION_BYTES: usize = 256;

/// The most labels on one container, agent or request.
pub const LABELS: usize = 32;

/// The longest label key or value, in bytes.
pub const LABEL_BYTES: usize = 256;

/// The most containers or kinds named in one call (a registration brings all
/// containers of an agent).
pub const LISTED: usize = 200_000;

/// The longest text of an error that crosses the wire, in bytes; longer ones
/// are cut.
pub const ERROR_BYTES: usize = 4 * 1024;

/// The largest header frame, in bytes. A registration of [`LISTED`] containers
/// is the largest header there is.
pub const HEADER_BYTES: usize = 64 * 1024 * 1024;

/// The largest payload of one request, reply or event, in bytes.
pub const PAYLOAD_BYTES: usize = 16 * 1024 * 1024;

/// The largest chunk of a streamed reply, in bytes. Small, so that a large
/// reply never holds the line for others.
pub const CHUNK_BYTES: usize = 64 * 1024;

/// The most events in one message.
pub const BATCH_EVENTS: usize = 1024;

/// Events share a message up to this length of all of them, in bytes; a longer
/// one travels alone. Small, as a chunk is.
pub const BATCH_BYTES: usize = CHUNK_BYTES;

/// The largest opaque argument of a container's start, in bytes. The
/// coordinator keeps it as long as the container lives, to start it elsewhere.
pub const EXTRA_BYTES: usize = 64 * 1024;

/// The most clients named in each list of an explanation.
pub const EXPLAINED: usize = 100;
