//! Chance that can be had again from its seed.

/// A splitmix64 sequence.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// From a seed.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// Another one, which this one and a number decide.
    pub fn branch(&self, number: u64) -> Random {
        let mut branch = Random(self.0 ^ number.wrapping_mul(0xd6e8_feb8_6659_fd93));
        branch.number();
        branch
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below this one, which is not zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.number() % bound
    }

    /// Whether something happens that happens so many times in a hundred.
    pub fn percent(&mut self, of_hundred: u64) -> bool {
        self.below(100) < of_hundred
    }

    /// One of these, which are some.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}

/// A seed that nobody chose.
pub fn seed() -> u64 {
    let mut bytes = [0; 8];
    // Where the kernel has no chance to give, the time will do.
    if rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).is_err() {
        bytes = rustix::time::clock_gettime(rustix::time::ClockId::Realtime).tv_nsec.to_ne_bytes();
    }
    u64::from_ne_bytes(bytes)
}
