//! What a bench is asked for: names, and numbers after flags.

/// The words of the command without its flags, and the number of seeds, or `seeds` where none is said.
pub fn asked(seeds: u64) -> (Vec<String>, u64) {
    let mut words: Vec<String> = std::env::args().skip(1).filter(|own| own != "--bench").collect();
    let number = taken(&mut words, "--seeds").unwrap_or(seeds);
    (words, number)
}

/// Takes a flag and the number after it out of the words.
pub fn taken(words: &mut Vec<String>, flag: &str) -> Option<u64> {
    let at = words.iter().position(|own| own == flag)?;
    let number = words.get(at + 1).and_then(|own| own.parse().ok());
    words.drain(at..(at + 2).min(words.len()));
    number
}
