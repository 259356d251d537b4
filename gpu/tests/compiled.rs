use std::collections::BTreeMap;
use std::path::Path;

use sha2::{Digest, Sha256};

/// scripts/gpu/build.sh writes the hashes of what it read and wrote.
#[test]
fn gpu_kernels_that_are_committed_are_those_of_the_sources() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels");
    let sums = std::fs::read_to_string(folder.join("SHA256SUMS")).unwrap();
    let recorded: BTreeMap<&str, &str> =
        sums.lines().map(|line| line.split_once("  ").map(|(sum, name)| (name, sum)).unwrap()).collect();
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        if ["cu", "cuh", "gz"].contains(&extension) {
            let sum: String = Sha256::digest(std::fs::read(&path).unwrap())
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            found.insert(path.file_name().unwrap().to_str().unwrap().to_owned(), sum);
        }
    }
    let found: BTreeMap<&str, &str> = found.iter().map(|(name, sum)| (&name[..], &sum[..])).collect();
    assert_eq!(found, recorded, "run scripts/gpu/build.sh: the kernels were changed and not compiled");
}

/// What the emulator has is what is compiled.
#[test]
fn gpu_kernels_have_the_names_that_the_emulator_knows() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels");
    let mut ptx = String::new();
    let packed = std::fs::File::open(folder.join("kernels.ptx.gz")).unwrap();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(packed), &mut ptx).unwrap();
    let mut compiled: Vec<&str> =
        ptx.lines().filter_map(|line| line.split_once(".entry ")?.1.split('(').next()).collect();
    let names = std::fs::read_to_string(folder.join("names.h")).unwrap();
    let mut emulated: Vec<&str> = names
        .lines()
        .filter(|line| !line.starts_with("//"))
        .flat_map(|line| line.split("NAME(").skip(1))
        .map(|rest| rest.split(')').next().unwrap())
        .collect();
    compiled.sort_unstable();
    emulated.sort_unstable();
    assert_eq!(emulated, compiled);
}
