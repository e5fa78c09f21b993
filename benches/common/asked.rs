//! What a bench is asked for: names, and the number after `--seeds`.

/// The words of the command without its flags, and the number of seeds, or `seeds` where none is said.
pub fn asked(seeds: u64) -> (Vec<String>, u64) {
    let mut words: Vec<String> = std::env::args().skip(1).filter(|own| own != "--bench").collect();
    let Some(at) = words.iter().position(|own| own == "--seeds") else { return (words, seeds) };
    let number = words.get(at + 1).and_then(|own| own.parse().ok()).unwrap_or(seeds);
    words.drain(at..(at + 2).min(words.len()));
    (words, number)
}
