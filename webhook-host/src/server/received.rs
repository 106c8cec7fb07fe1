//! A body as it arrives: in blocks, so that it takes the memory of its bytes and no more.
//!
//! One buffer that grows is copied as it grows, and takes twice its bytes meanwhile; a list of what
//! arrives takes as much for a chunk of one byte as for a large one. Filled by `handlers`, which
//! puts the blocks together when nothing else is large.

use bytes::{Bytes, BytesMut};

/// Bytes of a block.
const BLOCK: usize = 64 << 10;

/// A body, or the beginning of one.
#[derive(Default)]
pub(super) struct Received {
    /// Most bodies are one frame, which need not be copied.
    first: Bytes,
    blocks: Vec<BytesMut>,
    length: usize,
}

impl Received {
    pub(super) fn len(&self) -> usize {
        self.length
    }

    pub(super) fn push(&mut self, data: Bytes) {
        self.length += data.len();
        if self.blocks.is_empty() && self.first.is_empty() {
            self.first = data;
            return;
        }
        let first = std::mem::take(&mut self.first);
        for data in [first, data] {
            self.copy(&data);
        }
    }

    fn copy(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            if self.blocks.last().is_none_or(|block| block.len() == BLOCK) {
                self.blocks.push(BytesMut::with_capacity(BLOCK));
            }
            let Some(block) = self.blocks.last_mut() else {
                return;
            };
            let (fits, rest) = data.split_at(data.len().min(BLOCK - block.len()));
            block.extend_from_slice(fits);
            data = rest;
        }
    }

    /// All of it in one piece.
    pub(super) fn join(self) -> Bytes {
        if self.blocks.is_empty() {
            return self.first;
        }
        let mut joined = Vec::with_capacity(self.length);
        for block in self.blocks {
            joined.extend_from_slice(&block);
        }
        joined.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_what_arrived_however_it_was_cut() {
        let body: Vec<u8> = (0..200_000_u32)
            .map(|number| number.to_be_bytes()[3])
            .collect();
        for size in [1, 7, 60_000, 65_536, 70_000, 200_000] {
            let mut received = Received::default();
            for chunk in body.chunks(size) {
                received.push(Bytes::copy_from_slice(chunk));
            }
            assert_eq!(received.len(), body.len());
            assert!(received.join() == body, "in chunks of {size}");
        }
    }
}
