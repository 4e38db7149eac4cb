//! Which kernels of the engine's C++ library this CPU can run.
//!
//! The library is built for the CPU at hand, so its build depends on the machine; the cache folder carries the answer in its
//! name, and a home that is shared between machines never mixes two of them.

/// Kernels beyond the library's own baseline: name, flags of `/proc/cpuinfo` that must all be there, the library's switch.
const BEYOND: [(&str, &[&str], &str); 5] = [
    ("avx512", &["avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl"], "GGML_AVX512"),
    ("avx512_vbmi", &["avx512vbmi"], "GGML_AVX512_VBMI"),
    ("avx512_vnni", &["avx512_vnni"], "GGML_AVX512_VNNI"),
    ("avx512_bf16", &["avx512_bf16"], "GGML_AVX512_BF16"),
    ("avx_vnni", &["avx_vnni"], "GGML_AVX_VNNI"),
];

/// Kernels that the library's baseline takes for granted on x86: name, flag, switch.
const BASELINE: [(&str, &str, &str); 6] = [
    ("sse42", "sse4_2", "GGML_SSE42"),
    ("avx", "avx", "GGML_AVX"),
    ("avx2", "avx2", "GGML_AVX2"),
    ("f16c", "f16c", "GGML_F16C"),
    ("fma", "fma", "GGML_FMA"),
    ("bmi2", "bmi2", "GGML_BMI2"),
];

/// The kernels to build.
#[derive(Debug, PartialEq, Eq)]
pub struct Kernels {
    /// Names joined by `-`, or `base`; part of the cache folder's name.
    pub name: String,
    /// The library's switches as environment variables.
    pub switches: Vec<(&'static str, &'static str)>,
}

impl Kernels {
    /// Those of this machine.
    pub fn of_this_cpu() -> Kernels {
        Kernels::of(&std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default())
    }

    /// Those of the first CPU in a text in the form of `/proc/cpuinfo`; another architecture has only `base`.
    pub fn of(cpuinfo: &str) -> Kernels {
        let line = cpuinfo.lines().find(|line| line.starts_with("flags"));
        let flags: Vec<&str> = line
            .and_then(|line| line.split_once(':'))
            .map(|(_, flags)| flags.split_whitespace().collect())
            .unwrap_or_default();
        let mut names = Vec::new();
        let mut switches = Vec::new();
        for (name, needed, switch) in BEYOND {
            if needed.iter().all(|flag| flags.contains(flag)) {
                names.push(name.to_owned());
                switches.push((switch, "ON"));
            }
        }
        for (name, flag, switch) in BASELINE {
            if line.is_some() && !flags.contains(&flag) {
                names.push(format!("no_{name}"));
                switches.push((switch, "OFF"));
            }
        }
        let name = if names.is_empty() { "base".to_owned() } else { names.join("-") };
        Kernels { name, switches }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = "sse4_2 avx avx2 f16c fma bmi2";

    #[test]
    fn a_new_server_cpu_gets_everything() {
        let kernels = Kernels::of(&format!(
            "processor : 0\nflags\t\t: fpu {BASE} avx512f avx512dq avx512cd avx512bw avx512vl avx_vnni avx512_bf16 avx512vbmi avx512_vnni\n"
        ));
        assert_eq!(kernels.name, "avx512-avx512_vbmi-avx512_vnni-avx512_bf16-avx_vnni");
        assert_eq!(kernels.switches.len(), 5);
        assert!(kernels.switches.contains(&("GGML_AVX512_VBMI", "ON")));
    }

    #[test]
    fn a_part_of_avx512_is_not_avx512() {
        assert_eq!(Kernels::of(&format!("flags : {BASE} avx512f avx512cd")).name, "base");
    }

    #[test]
    fn an_old_cpu_switches_the_baseline_off() {
        let kernels = Kernels::of("flags : sse4_2 avx");
        assert_eq!(kernels.name, "no_avx2-no_f16c-no_fma-no_bmi2");
        assert!(kernels.switches.contains(&("GGML_AVX2", "OFF")));
    }

    #[test]
    fn another_architecture_is_left_alone() {
        assert_eq!(Kernels::of("Features : fp asimd"), Kernels { name: "base".into(), switches: vec![] });
    }
}
