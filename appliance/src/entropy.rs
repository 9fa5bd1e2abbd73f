//! The only source of chance: the operating system's generator.

use rustix::rand::GetRandomFlags;
use seawall_domain::ports::Entropy;

/// The operating system's generator.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsEntropy;

impl Entropy for OsEntropy {
    fn fill(&self, out: &mut [u8]) {
        let mut rest = out;
        while !rest.is_empty() {
            // The system call itself: a statically linked program has no other way in a root directory without /dev.
            match rustix::rand::getrandom(&mut *rest, GetRandomFlags::empty()) {
                Ok(got) => rest = rest.get_mut(got..).unwrap_or_default(),
                Err(rustix::io::Errno::INTR) => {}
                // Without unpredictable bytes every token would be forgeable: stopping is the only safe answer.
                Err(_) => std::process::abort(),
            }
        }
    }
}

impl OsEntropy {
    /// `N` fresh bytes.
    #[must_use]
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut out = [0; N];
        self.fill(&mut out);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_draws_differ() {
        assert_ne!(OsEntropy.bytes::<32>(), OsEntropy.bytes::<32>());
        // Longer than the kernel gives at once without interruption, and no part left as it was.
        let long = OsEntropy.bytes::<4096>();
        assert!(long.chunks(16).all(|chunk| chunk != [0; 16]));
    }
}
