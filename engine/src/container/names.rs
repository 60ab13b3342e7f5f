//! Names of containers: what a name may be, and names for those who got none.

use crate::error::{During as _, Error, Kind, Result};

/// Names that are tried before the ID becomes the name.
const ATTEMPTS: u32 = 6;
const ALLOWED: &str = "[a-zA-Z0-9][a-zA-Z0-9_.-]";

/// The name without the slash that old clients write before it.
pub(crate) fn check(name: &str) -> Result<&str> {
    let plain = name.strip_prefix('/').unwrap_or(name);
    let mut characters = plain.bytes();
    let begins = characters.next().is_some_and(|first| first.is_ascii_alphanumeric());
    let goes_on = characters.len() > 0
        && characters.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'));
    if begins && goes_on {
        Ok(plain)
    } else {
        Err(Error::invalid(format!("Invalid container name ({name}), only {ALLOWED} are allowed")))
    }
}

/// Makes up a name that `reserve` takes. From the second attempt on a digit makes a collision less likely.
pub(crate) fn take(reserve: impl Fn(&str) -> Result<()>) -> Result<String> {
    let mut taken = Error::conflict("no name is free");
    for attempt in 0..ATTEMPTS {
        let name = random_name(attempt)?;
        match reserve(&name) {
            Ok(()) => return Ok(name),
            Err(error) if error.kind == Kind::Conflict => taken = error,
            Err(error) => return Err(error),
        }
    }
    Err(taken)
}

fn random_name(attempt: u32) -> Result<String> {
    loop {
        let mut name = format!("{}_{}", pick(&ADJECTIVES)?, pick(&SURNAMES)?);
        // Steve Wozniak is not boring.
        if name == "boring_wozniak" {
            continue;
        }
        if attempt > 0 {
            name.push_str(pick(&["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"])?);
        }
        return Ok(name);
    }
}

fn pick(words: &[&'static str]) -> Result<&'static str> {
    let mut bytes = [0; 8];
    // So few bytes come at once.
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).while_doing("getrandom")?;
    let index = u64::from_ne_bytes(bytes) % (words.len() as u64);
    Ok(usize::try_from(index).ok().and_then(|index| words.get(index)).copied().unwrap_or_default())
}

#[rustfmt::skip]
const ADJECTIVES: [&str; 128] = [
    "able", "agile", "airy", "alert", "amber", "ample", "ancient", "apt", "ardent", "arid", "astute",
    "austere", "avid", "balmy", "bashful", "bold", "boring", "brave", "breezy", "bright", "brisk", "calm",
    "candid", "careful", "casual", "cheerful", "chilly", "civil", "clear", "clever", "cosmic", "cozy",
    "crisp", "curious", "dapper", "daring", "dazzling", "dear", "deft", "dewy", "diligent", "dreamy",
    "driven", "dusty", "eager", "earnest", "easy", "elated", "elegant", "epic", "fair", "fancy", "fearless",
    "festive", "fluent", "fond", "frank", "fresh", "frosty", "gentle", "gifted", "glad", "gleaming", "golden",
    "graceful", "grand", "happy", "hardy", "hasty", "hearty", "helpful", "honest", "hopeful", "humble",
    "jolly", "jovial", "keen", "kind", "lively", "loyal", "lucid", "lucky", "mellow", "merry", "mighty",
    "modest", "musing", "nimble", "noble", "patient", "peppy", "placid", "playful", "plucky", "polite",
    "proud", "quick", "quiet", "radiant", "rapid", "ready", "relaxed", "robust", "rosy", "serene", "sharp",
    "shiny", "silent", "sincere", "sleek", "smart", "snug", "sober", "solid", "spry", "stoic", "sturdy",
    "sunny", "swift", "tender", "tidy", "tranquil", "upbeat", "vivid", "warm", "wise", "witty", "zesty",
];
#[rustfmt::skip]
const SURNAMES: [&str; 237] = [
    "abel", "ada", "agnesi", "airy", "alhazen", "ampere", "anning", "archimedes", "aristarchus", "aryabhata",
    "avogadro", "babbage", "backus", "bardeen", "bassi", "becquerel", "bell", "bernoulli", "bessel", "bethe",
    "bhaskara", "bohr", "boltzmann", "bolyai", "boole", "born", "bose", "boyle", "brahe", "brahmagupta",
    "bunsen", "cannon", "cantor", "carson", "cauchy", "cavendish", "cayley", "celsius", "chandrasekhar",
    "chatelet", "chebyshev", "chomsky", "church", "clarke", "codd", "cohen", "copernicus", "coriolis",
    "coulomb", "cray", "crick", "curie", "cuvier", "dalton", "darwin", "dedekind", "descartes", "diesel",
    "dijkstra", "dirac", "doppler", "dyson", "eckert", "eddington", "edison", "ehrlich", "einstein", "elion",
    "engelbart", "eratosthenes", "erdos", "euclid", "euler", "faraday", "fermat", "fermi", "feynman",
    "fibonacci", "fleming", "foucault", "fourier", "franklin", "fresnel", "galilei", "galois", "galton",
    "galvani", "gamow", "gauss", "germain", "gibbs", "goddard", "godel", "goeppert", "goldberg", "goodall",
    "grothendieck", "gutenberg", "haber", "hadamard", "halley", "hamilton", "hamming", "harvey", "hawking",
    "heisenberg", "helmholtz", "henry", "hermite", "herschel", "hertz", "hilbert", "hipparchus", "hodgkin",
    "hollerith", "hooke", "hopper", "hubble", "huffman", "humboldt", "huygens", "hypatia", "jacobi",
    "jemison", "johnson", "joliot", "joule", "kamerlingh", "kapitsa", "kelvin", "kepler", "khayyam",
    "khwarizmi", "kilby", "kirchhoff", "knuth", "koch", "kolmogorov", "kovalevskaya", "lagrange", "lamarr",
    "landau", "laplace", "lavoisier", "leavitt", "lebesgue", "leibniz", "lie", "linnaeus", "lobachevsky",
    "lorentz", "lovelace", "lovell", "mach", "maxwell", "mayer", "mccarthy", "mcclintock", "meitner",
    "mendel", "mendeleev", "michelson", "minkowski", "mobius", "moore", "morse", "napier", "nash", "neumann",
    "newton", "nightingale", "nobel", "noether", "noyce", "oersted", "ohm", "ostrowski", "pascal", "pasteur",
    "pauli", "pauling", "pavlov", "payne", "penrose", "perlman", "planck", "poincare", "poisson", "ptolemy",
    "pythagoras", "raman", "ramanujan", "rayleigh", "riemann", "ritchie", "robinson", "roentgen", "rubin",
    "rutherford", "sagan", "salk", "sanger", "schrodinger", "shannon", "shockley", "sinoussi", "snell",
    "stokes", "sutherland", "swan", "tereshkova", "tesla", "thales", "thompson", "torvalds", "tu", "turing",
    "vaughan", "venter", "villani", "volta", "wallace", "watt", "weber", "weierstrass", "wien", "wiles",
    "wilson", "wing", "wozniak", "wright", "wu", "yalow", "yonath", "young", "zeno", "zuse",
];

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn names_are_dockers() {
        for name in ["ab", "a1", "Web_1.x-y", "0a"] {
            assert_eq!(check(name).unwrap(), name);
        }
        assert_eq!(check("/web").unwrap(), "web");
        for name in ["", "/", "a", "_a", "-ab", "a b", "a/b", "//ab", "äb", "a:b"] {
            let error = check(name).unwrap_err();
            let want = format!("Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed");
            assert_eq!((error.kind, error.message), (Kind::InvalidParameter, want));
        }
    }

    #[test]
    fn a_taken_name_is_tried_again_with_a_digit() {
        let attempts = Cell::new(0);
        let name = take(|name| {
            attempts.set(attempts.get() + 1);
            assert_eq!(name.ends_with(|last: char| last.is_ascii_digit()), attempts.get() > 1, "{name}");
            check(name)?;
            if attempts.get() < 3 { Err(Error::conflict("taken")) } else { Ok(()) }
        });
        assert!(name.unwrap().contains('_'));
        assert_eq!(attempts.get(), 3);
        assert_eq!(take(|_| Err(Error::conflict("taken"))).unwrap_err().message, "taken");
        assert_eq!(take(|_| Err(Error::system("full"))).unwrap_err().kind, Kind::System);
    }

    #[test]
    fn every_name_is_a_name() {
        for adjective in ADJECTIVES {
            assert!(adjective.bytes().all(|byte| byte.is_ascii_lowercase()), "{adjective}");
        }
        for surname in SURNAMES {
            assert!(surname.bytes().all(|byte| byte.is_ascii_lowercase()), "{surname}");
        }
        assert!(ADJECTIVES.is_sorted() && SURNAMES.is_sorted());
    }
}
