//! Framing: how messages and stream data follow each other on a byte stream.
//!
//! ```text
//! ┌───────────────┬──────────┬───────────────────────────────┐
//! │ length u32 LE │ kind u8  │ payload, length − 1 bytes     │   length: 1 ..= FRAME_MAX
//! └───────────────┴──────────┴───────────────────────────────┘
//!   kind 0  a message, JSON
//!   kind 1  stream data: one byte that names the stream, then the bytes (at most DATA_MAX)
//! ```

use crate::limits::{DATA_MAX, FRAME_MAX};
use serde::Serialize;
use serde::de::DeserializeOwned;

const HEADER: usize = 4;
const KIND_MESSAGE: u8 = 0;
const KIND_DATA: u8 = 1;

/// Which stream a data frame belongs to. File bodies and dialled ports travel as [`Stream::Input`] towards the agent and as
/// [`Stream::Output`] away from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stream {
    /// Towards the agent: a program's standard input, the bytes of a file to write, bytes for a dialled port.
    Input,
    /// From the agent: a program's standard output (or its terminal), the bytes of a file, bytes from a dialled port.
    Output,
    /// From the agent: a program's standard error.
    Error,
}

impl Stream {
    fn code(self) -> u8 {
        match self {
            Stream::Input => 0,
            Stream::Output => 1,
            Stream::Error => 2,
        }
    }

    fn from_code(code: u8) -> Result<Stream, FrameError> {
        match code {
            0 => Ok(Stream::Input),
            1 => Ok(Stream::Output),
            2 => Ok(Stream::Error),
            other => Err(FrameError::UnknownStream(other)),
        }
    }
}

/// One decoded frame. A message is still JSON text: which type it must be depends on whose turn it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// The JSON text of a message.
    Message(Vec<u8>),
    /// Bytes of a stream; an empty chunk ends the stream.
    Data(Stream, Vec<u8>),
}

impl Frame {
    /// Reads the frame as a message of the type that is expected now.
    pub fn message<T: DeserializeOwned>(&self) -> Result<T, FrameError> {
        match self {
            Frame::Message(text) => {
                serde_json::from_slice(text).map_err(|error| FrameError::BadMessage(error.to_string()))
            }
            Frame::Data(..) => Err(FrameError::UnexpectedData),
        }
    }
}

/// Why bytes are not a frame. The connection is of no use afterwards.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The length is 0 or past [`FRAME_MAX`].
    #[error("frame of {0} bytes, allowed are 1 to {FRAME_MAX}")]
    BadLength(usize),
    /// The kind byte names no kind.
    #[error("unknown frame kind {0}")]
    UnknownKind(u8),
    /// The stream byte names no stream.
    #[error("unknown stream {0}")]
    UnknownStream(u8),
    /// Stream data came where a message is due.
    #[error("stream data where a message was due")]
    UnexpectedData,
    /// The message is not of the type that is due, or breaks a limit.
    #[error("bad message: {0}")]
    BadMessage(String),
}

/// Appends a message to `out` as one frame. Fails if it is longer than a frame may be.
pub fn encode_message<T: Serialize>(message: &T, out: &mut Vec<u8>) -> Result<(), FrameError> {
    let start = out.len();
    out.extend_from_slice(&[0; HEADER]);
    out.push(KIND_MESSAGE);
    if let Err(error) = serde_json::to_writer(&mut *out, message) {
        out.truncate(start);
        return Err(FrameError::BadMessage(error.to_string()));
    }
    let length = out.len() - start - HEADER;
    if length > FRAME_MAX {
        out.truncate(start);
        return Err(FrameError::BadLength(length));
    }
    out[start..start + HEADER].copy_from_slice(&(length as u32).to_le_bytes());
    Ok(())
}

/// Appends stream data to `out`, in as many frames as it needs. An empty `bytes` makes one empty frame: the stream's end.
pub fn encode_data(stream: Stream, bytes: &[u8], out: &mut Vec<u8>) {
    let mut frame = |chunk: &[u8]| {
        out.extend_from_slice(&((chunk.len() + 2) as u32).to_le_bytes());
        out.extend_from_slice(&[KIND_DATA, stream.code()]);
        out.extend_from_slice(chunk);
    };
    if bytes.is_empty() {
        frame(bytes);
    }
    bytes.chunks(DATA_MAX).for_each(&mut frame);
}

/// Cuts a byte stream into frames. Never holds more than one frame and the bytes it was last given.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    read: usize,
}

impl Decoder {
    /// A decoder that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds bytes as they came from the wire.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.read > 0 {
            self.buffer.drain(..self.read);
            self.read = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// How many bytes are waiting for the rest of their frame.
    pub fn pending(&self) -> usize {
        self.buffer.len() - self.read
    }

    /// The next whole frame, or `None` until more bytes come.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        let waiting = &self.buffer[self.read..];
        let Some((header, rest)) = waiting.split_first_chunk::<HEADER>() else { return Ok(None) };
        let length = u32::from_le_bytes(*header) as usize;
        if length == 0 || length > FRAME_MAX {
            return Err(FrameError::BadLength(length));
        }
        let Some(body) = rest.get(..length) else { return Ok(None) };
        let frame = match body {
            [KIND_MESSAGE, text @ ..] => Frame::Message(text.to_vec()),
            [KIND_DATA, stream, bytes @ ..] if bytes.len() <= DATA_MAX => {
                Frame::Data(Stream::from_code(*stream)?, bytes.to_vec())
            }
            [KIND_DATA, ..] => return Err(FrameError::BadLength(length)),
            [kind, ..] => return Err(FrameError::UnknownKind(*kind)),
            [] => return Err(FrameError::BadLength(0)),
        };
        self.read += HEADER + length;
        Ok(Some(frame))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_decode_or_fail_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..4096)) {
            let mut decoder = Decoder::new();
            decoder.push(&bytes);
            while let Ok(Some(_)) = decoder.next_frame() {}
        }

        #[test]
        fn what_was_encoded_decodes_however_it_is_cut(
            bytes in proptest::collection::vec(any::<u8>(), 0..200_000), cut in 1usize..70_000
        ) {
            let mut wire = Vec::new();
            encode_data(Stream::Output, &bytes, &mut wire);
            encode_message(&"done", &mut wire).unwrap();
            let mut decoder = Decoder::new();
            let (mut seen, mut done) = (Vec::new(), false);
            for chunk in wire.chunks(cut) {
                decoder.push(chunk);
                while let Some(frame) = decoder.next_frame().unwrap() {
                    match frame {
                        Frame::Data(Stream::Output, chunk) => seen.extend(chunk),
                        Frame::Message(_) => done = frame.message::<String>().unwrap() == "done",
                        Frame::Data(..) => unreachable!("only output was sent"),
                    }
                }
            }
            prop_assert!(done);
            prop_assert_eq!(seen, bytes);
            prop_assert_eq!(decoder.pending(), 0);
        }
    }

    #[test]
    fn a_frame_past_the_limit_is_refused_before_its_body_arrives() {
        let mut decoder = Decoder::new();
        decoder.push(&u32::MAX.to_le_bytes());
        assert_eq!(decoder.next_frame(), Err(FrameError::BadLength(u32::MAX as usize)));
    }

    #[test]
    fn a_message_too_long_for_a_frame_is_refused_and_leaves_nothing_behind() {
        let mut wire = Vec::new();
        assert!(encode_message(&"x".repeat(FRAME_MAX), &mut wire).is_err());
        assert!(wire.is_empty());
    }
}
