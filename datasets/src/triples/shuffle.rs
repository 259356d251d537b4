//! Shuffling a stream that is larger than memory.

use secateur_random::SplitMix64;

/// Shuffles a stream within a window: each of the next `window` items is equally likely to come next.
///
/// An item comes at most `window - 1` places early. It may come any number of places late, but large delays are
/// unlikely. A window as long as the stream shuffles it wholly; a window of 0 or 1 changes nothing. Memory: `window`
/// items. The same items, window and seed give the same order on every machine.
///
/// ```
/// use secateur_datasets::triples::shuffled;
///
/// let mixed: Vec<u32> = shuffled(0..100, 10, 7).collect();
/// assert_eq!(mixed, shuffled(0..100, 10, 7).collect::<Vec<_>>());
/// assert_ne!(mixed, shuffled(0..100, 10, 8).collect::<Vec<_>>());
/// let mut sorted = mixed;
/// sorted.sort();
/// assert_eq!(sorted, Vec::from_iter(0..100));
/// ```
pub fn shuffled<I: IntoIterator>(items: I, window: usize, seed: u64) -> Shuffled<I::IntoIter> {
    Shuffled {
        items: items.into_iter().fuse(),
        waiting: Vec::new(),
        window: window.max(1),
        random: SplitMix64::new(seed),
    }
}

/// A stream in another order, from [`shuffled`].
pub struct Shuffled<I: Iterator> {
    items: std::iter::Fuse<I>,
    waiting: Vec<I::Item>,
    window: usize,
    random: SplitMix64,
}

impl<I: Iterator> Iterator for Shuffled<I> {
    type Item = I::Item;

    fn next(&mut self) -> Option<I::Item> {
        let missing = self.window - self.waiting.len();
        self.waiting.extend(self.items.by_ref().take(missing));
        if self.waiting.is_empty() {
            return None;
        }
        let at = self.random.below(self.waiting.len() as u64) as usize;
        Some(self.waiting.swap_remove(at))
    }
}
