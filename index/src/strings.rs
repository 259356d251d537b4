//! Strings with numbers, and their order.

use std::hash::{BuildHasher, RandomState};

use rayon::prelude::*;

/// Distinct strings, numbered in the order in which they first came. One takes its bytes and about 20 more, and no
/// allocation of its own. What strings are looked for is up to strangers, so they are hashed with a key.
#[derive(Default)]
pub(crate) struct Interner {
    hasher: RandomState,
    text: String,
    /// Where each string ends in the text.
    ends: Vec<usize>,
    /// Where strings are found, by linear probing. Their number is a power of two.
    slots: Vec<Slot>,
}

/// The place of a number, with a part of its string's hash: so a larger table is filled without a look at the strings.
#[derive(Clone, Copy)]
struct Slot {
    hash: u32,
    /// 0 in a free slot.
    number_and_one: u32,
}

const FREE: Slot = Slot { hash: 0, number_and_one: 0 };

impl Interner {
    /// How many strings there are: the next new one gets this number.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// The bytes of memory in use.
    pub fn num_bytes(&self) -> usize {
        self.text.len() + size_of_val(&self.ends[..]) + size_of_val(&self.slots[..])
    }

    /// The string of a number that was given.
    pub fn string(&self, number: u32) -> &str {
        let number = number as usize;
        let start = number.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[start..self.ends[number]]
    }

    /// The number of a string, if it has come before.
    pub fn number(&self, string: &str) -> Option<u32> {
        if self.slots.is_empty() {
            return None;
        }
        self.slots[self.slot_of(self.hash(string), string)].number_and_one.checked_sub(1)
    }

    /// The number of a string, which is a new one unless it has come before. There are fewer than 2^32 - 1.
    pub fn intern(&mut self, string: &str) -> u32 {
        // At most seven eighths are used, so that few others are looked at.
        if 8 * (self.ends.len() + 1) > 7 * self.slots.len() {
            self.grow();
        }
        let hash = self.hash(string);
        let at = self.slot_of(hash, string);
        if let Some(number) = self.slots[at].number_and_one.checked_sub(1) {
            return number;
        }
        self.text.push_str(string);
        self.ends.push(self.text.len());
        let number_and_one = self.ends.len() as u32;
        self.slots[at] = Slot { hash, number_and_one };
        number_and_one - 1
    }

    fn hash(&self, string: &str) -> u32 {
        self.hasher.hash_one(string) as u32
    }

    /// The slot of a string, or the free one where it belongs.
    fn slot_of(&self, hash: u32, string: &str) -> usize {
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            let slot = self.slots[at];
            match slot.number_and_one.checked_sub(1) {
                Some(number) if slot.hash != hash || self.string(number) != string => at = (at + 1) & mask,
                _ => return at,
            }
        }
    }

    fn grow(&mut self) {
        let len = (2 * self.slots.len()).max(16);
        let before = std::mem::replace(&mut self.slots, vec![FREE; len]);
        for slot in before.into_iter().filter(|slot| slot.number_and_one != 0) {
            let mut at = slot.hash as usize & (len - 1);
            while self.slots[at].number_and_one != 0 {
                at = (at + 1) & (len - 1);
            }
            self.slots[at] = slot;
        }
    }
}

/// So many strings are sorted in parallel. Fewer take less time than waking the pool.
pub(crate) const SORTED_IN_PARALLEL: usize = 1 << 14;

/// The numbers below `count` in the order of the bytes of their strings, those of equal strings in their own. Sorts in
/// parallel on the current rayon pool if there are many.
pub(crate) fn in_order<'s>(count: u32, string: impl Fn(u32) -> &'s str + Sync) -> Vec<u32> {
    // The first bytes of a string decide most comparisons, and lie beside the number.
    let start_of = |number: u32| {
        let mut start = [0; 8];
        let string = string(number).as_bytes();
        let len = string.len().min(8);
        start[..len].copy_from_slice(&string[..len]);
        u64::from_be_bytes(start)
    };
    let mut sorted: Vec<(u64, u32)> = (0..count).map(|number| (start_of(number), number)).collect();
    let compare = |a: &(u64, u32), b: &(u64, u32)| {
        a.0.cmp(&b.0).then_with(|| string(a.1).cmp(string(b.1))).then(a.1.cmp(&b.1))
    };
    if sorted.len() < SORTED_IN_PARALLEL {
        sorted.sort_unstable_by(compare);
    } else {
        sorted.par_sort_unstable_by(compare);
    }
    sorted.into_iter().map(|(_, number)| number).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// As a map does it. Few strings, so that they come again, and then so many that the table grows.
        #[test]
        fn as_a_map(strings in prop::collection::vec("[aé]{0,3}", 0..100), num_more in 0u32..200) {
            let (mut interner, mut numbers) = (Interner::default(), HashMap::new());
            for string in strings.into_iter().chain((0..num_more).map(|number| number.to_string())) {
                prop_assert_eq!(interner.number(&string), numbers.get(&string).copied());
                let next = numbers.len() as u32;
                prop_assert_eq!(interner.intern(&string), *numbers.entry(string).or_insert(next));
                prop_assert_eq!(interner.len(), numbers.len());
            }
            for (string, number) in numbers {
                prop_assert_eq!(interner.number(&string), Some(number));
                prop_assert_eq!(interner.string(number), string);
            }
        }
    }

    /// Strings whose hashes are equal in the part that is kept are told apart.
    #[test]
    fn equal_hashes() {
        let mut interner = Interner::default();
        let mut seen: HashMap<u32, String> = HashMap::new();
        let two = (0..).find_map(|number: u32| {
            let string = number.to_string();
            seen.insert(interner.hash(&string), string.clone()).map(|other| [other, string])
        });
        let [one, other] = two.unwrap();
        assert_eq!((interner.intern(&one), interner.number(&other), interner.intern(&other)), (0, None, 1));
        assert_eq!([&one, &other].map(|string| interner.number(string)), [Some(0), Some(1)]);
    }
}
