//! What is chosen from bytes. The same bytes give the same choices, and where the bytes are at their end the first of each is chosen, which is
//! the plainest. So a fuzzer can learn, a property test can shrink, and a story can be told again.

/// Choices that are left.
#[derive(Debug)]
pub struct Choices<'a> {
    bytes: &'a [u8],
}

impl<'a> Choices<'a> {
    /// From these bytes.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// One of the numbers below `count`, which is at least 1.
    pub fn below(&mut self, count: usize) -> usize {
        let bytes = if count <= 256 { 1 } else { 3 };
        (0..bytes).fold(0, |number, _| number << 8 | usize::from(self.byte())) % count
    }

    /// Yes, once in so many times, and no at the end of the bytes.
    pub fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == count - 1
    }

    /// One of them.
    pub fn of<T: Clone>(&mut self, options: &[T]) -> T {
        options[self.below(options.len())].clone()
    }

    /// A place to cut a text, between two of its characters.
    pub fn place_in(&mut self, text: &str) -> usize {
        let place = self.below(text.len() + 1);
        (place..=text.len())
            .find(|at| text.is_char_boundary(*at))
            .unwrap_or(text.len())
    }

    /// All bytes that are left, as a text.
    pub fn rest(&mut self) -> String {
        String::from_utf8_lossy(std::mem::take(&mut self.bytes)).into_owned()
    }

    fn byte(&mut self) -> u8 {
        match self.bytes.split_first() {
            Some((first, rest)) => {
                self.bytes = rest;
                *first
            }
            None => 0,
        }
    }
}
