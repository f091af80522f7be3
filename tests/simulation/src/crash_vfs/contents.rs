//! The bytes of a file in blocks that copies share, so that keeping the disk as it was at every single call stays cheap.

use std::sync::Arc;

const BLOCK: usize = 4096;

/// A file's bytes. A clone shares every block until one of the two writes to it.
#[derive(Clone, Default)]
pub(super) struct Contents {
    blocks: Vec<Arc<[u8; BLOCK]>>,
    len: usize,
}

impl Contents {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Copies what is there from `at` on into `out` and answers how many bytes that were.
    pub(super) fn read(&self, at: usize, out: &mut [u8]) -> usize {
        let end = self.len.min(at.saturating_add(out.len()));
        let mut from = at;
        while from < end {
            let (block, inside) = (from / BLOCK, from % BLOCK);
            let take = (BLOCK - inside).min(end - from);
            out[from - at..from - at + take].copy_from_slice(&self.blocks[block][inside..inside + take]);
            from += take;
        }
        end.saturating_sub(at)
    }

    /// Writes, with zeros between the former end and `at`.
    pub(super) fn write(&mut self, at: usize, data: &[u8]) {
        let end = at + data.len();
        self.grow(end);
        let mut from = at;
        while from < end {
            let (block, inside) = (from / BLOCK, from % BLOCK);
            let take = (BLOCK - inside).min(end - from);
            Arc::make_mut(&mut self.blocks[block])[inside..inside + take].copy_from_slice(&data[from - at..from - at + take]);
            from += take;
        }
    }

    /// Cuts off, or extends with zeros.
    pub(super) fn set_len(&mut self, len: usize) {
        if len >= self.len {
            self.grow(len);
            return;
        }
        self.blocks.truncate(len.div_ceil(BLOCK));
        if !len.is_multiple_of(BLOCK)
            && let Some(last) = self.blocks.last_mut()
        {
            Arc::make_mut(last)[len % BLOCK..].fill(0);
        }
        self.len = len;
    }

    fn grow(&mut self, len: usize) {
        while self.blocks.len() * BLOCK < len {
            self.blocks.push(Arc::new([0; BLOCK]));
        }
        self.len = self.len.max(len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Dice;

    #[test]
    fn it_behaves_like_a_plain_vector_of_bytes() {
        let mut dice = Dice::new(7);
        let (mut contents, mut plain) = (Contents::default(), Vec::new());
        for _ in 0..2_000 {
            let at = dice.below(20_000) as usize;
            if dice.chance(30) {
                contents.set_len(at);
                plain.resize(at, 0);
            } else {
                let mut data = vec![0; dice.below(6_000) as usize];
                dice.fill(&mut data);
                contents.write(at, &data);
                plain.resize(plain.len().max(at + data.len()), 0);
                plain[at..at + data.len()].copy_from_slice(&data);
            }
            let mut read = vec![0; 30_000];
            assert_eq!(contents.read(0, &mut read), plain.len());
            assert_eq!(contents.len(), plain.len());
            assert!(read[..plain.len()] == plain[..]);
        }
    }
}
