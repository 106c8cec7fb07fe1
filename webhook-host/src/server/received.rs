//! A request body as it arrives, in blocks, so that it takes little more memory than its bytes.
//!
//! A single growing buffer is copied as it grows and takes twice its bytes meanwhile; a list of
//! received frames takes as much for a chunk of one byte as for a large one. Filled by `handlers`,
//! which joins the blocks under the large-body lock.

use bytes::{Bytes, BytesMut};

/// The size of a block in bytes.
const BLOCK_SIZE: usize = 64 << 10;

/// A body, or its beginning.
#[derive(Default)]
pub(super) struct Received {
    /// The first frame. Most bodies are one frame, which need not be copied.
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
            if self
                .blocks
                .last()
                .is_none_or(|block| block.len() == BLOCK_SIZE)
            {
                self.blocks.push(BytesMut::with_capacity(BLOCK_SIZE));
            }
            let Some(block) = self.blocks.last_mut() else {
                return;
            };
            let (fits, rest) = data.split_at(data.len().min(BLOCK_SIZE - block.len()));
            block.extend_from_slice(fits);
            data = rest;
        }
    }

    /// Joins the blocks into one buffer.
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
    fn a_body_in_any_frames_is_joined_unchanged() {
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
