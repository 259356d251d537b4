//! The machine that measures.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// The program that measures. A library cannot know it, so the caller says it: [`Program::in_file`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// Its version.
    pub version: String,
    /// The commit it was built from, if the build said so.
    pub commit: Option<String>,
    /// BLAKE3 of the executable, sixteen hexadecimal digits.
    pub fingerprint: Option<String>,
    /// Whether the compiler optimised it.
    pub is_optimised: bool,
}

impl Program {
    /// The program of a file: an executable, or a library that another program loads. Its version is this library's.
    pub fn in_file(path: &Path) -> Program {
        let bytes = std::fs::read(path).ok();
        Program {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            commit: option_env!("SECATEUR_COMMIT").map(str::to_owned),
            fingerprint: bytes.map(|bytes| blake3::hash(&bytes).to_hex()[..16].to_owned()),
            is_optimised: !cfg!(debug_assertions),
        }
    }
}

/// The machine that measures, and when.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Environment {
    /// The program.
    pub program: Program,
    /// The model of the processor.
    pub processor: String,
    /// The instruction sets that kernels choose by.
    pub instruction_sets: Vec<String>,
    /// Threads that run at once.
    pub cores: usize,
    /// Threads that one search or one batch computes on.
    pub threads: usize,
    /// Memory of the machine.
    pub memory_bytes: Option<u64>,
    /// The operating system.
    pub system: String,
    /// Where the encoders computed: processors and cards.
    pub devices: Vec<String>,
    /// When it began, in UTC, as ISO 8601.
    pub started: String,
}

impl Environment {
    /// What the operating system says of itself. What it does not say is left out.
    pub fn here(program: Program) -> Environment {
        let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let kernel = if kernel.is_empty() { String::new() } else { format!(" {}", kernel.trim()) };
        let named = field(&cpu, "model name").or_else(|| field(&cpu, "Processor"));
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        Environment {
            program,
            processor: named.unwrap_or(std::env::consts::ARCH).to_owned(),
            instruction_sets: instruction_sets(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            threads: rayon::current_num_threads(),
            memory_bytes: field(&memory, "MemTotal").and_then(kilobytes),
            system: format!("{} {}{kernel}", std::env::consts::OS, std::env::consts::ARCH),
            devices: Vec::new(),
            started: utc(seconds),
        }
    }

    /// Whether a later program's times compare with those of an earlier one: the same processor with as many threads,
    /// and both programs optimised or neither.
    pub fn is_alike(&self, other: &Environment) -> bool {
        let of = |of: &Environment| (of.processor.clone(), of.threads, of.program.is_optimised);
        of(self) == of(other)
    }

    /// Whether times of both compare: the same program on the same machine, whenever.
    pub fn is_same_machine(&self, other: &Environment) -> bool {
        let machine = |of: &Environment| {
            let Environment { program, processor, cores, threads, memory_bytes, .. } = of.clone();
            (program, processor, cores, threads, memory_bytes)
        };
        machine(self) == machine(other)
    }
}

/// Memory of this process that is resident, in bytes; `None` where the system does not say.
pub fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string(Path::new("/proc/self/status")).ok()?;
    field(&status, "VmRSS").and_then(kilobytes)
}

/// The value of the first line `NAME : VALUE`.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = text.lines().filter_map(|line| line.split_once(':'));
    lines.find(|(found, _)| found.trim() == name).map(|(_, value)| value.trim())
}

fn kilobytes(text: &str) -> Option<u64> {
    Some(1024 * text.strip_suffix("kB")?.trim().parse::<u64>().ok()?)
}

#[cfg(target_arch = "x86_64")]
fn instruction_sets() -> Vec<String> {
    let known = [
        ("avx2", is_x86_feature_detected!("avx2")),
        ("fma", is_x86_feature_detected!("fma")),
        ("f16c", is_x86_feature_detected!("f16c")),
        ("avx512f", is_x86_feature_detected!("avx512f")),
        ("avx512bw", is_x86_feature_detected!("avx512bw")),
        ("avx512vnni", is_x86_feature_detected!("avx512vnni")),
        ("avx512bf16", is_x86_feature_detected!("avx512bf16")),
    ];
    known.into_iter().filter(|(_, has)| *has).map(|(name, _)| name.to_owned()).collect()
}

#[cfg(not(target_arch = "x86_64"))]
fn instruction_sets() -> Vec<String> {
    vec![std::env::consts::ARCH.to_owned()]
}

/// Seconds since 1970 as a date and a time of day (Hinnant, "chrono-compatible low-level date algorithms").
fn utc(seconds: u64) -> String {
    let (days, rest) = ((seconds / 86_400) as i64 + 719_468, seconds % 86_400);
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", rest / 3600, rest / 60 % 60, rest % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_by_the_calendar() {
        assert_eq!(utc(0), "1970-01-01T00:00:00Z");
        assert_eq!(utc(951_827_696), "2000-02-29T12:34:56Z");
        assert_eq!(utc(4_102_444_799), "2099-12-31T23:59:59Z");
    }

    #[test]
    fn fields_of_proc_files() {
        let text = "model name\t: X 9\nVmRSS:\t  12 kB\nVmHWM: 13 kB\n";
        assert_eq!(field(text, "model name"), Some("X 9"));
        assert_eq!(field(text, "VmRSS").and_then(kilobytes), Some(12 * 1024));
        assert_eq!(field(text, "none"), None);
    }
}
