//! Weights in fewer bits: another GGUF file, made by the library's own kernels.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use llama_cpp_sys_2 as sys;

use super::library;
use crate::error::Error;

/// What most of a model's matrices can be stored as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// 16 bits, bfloat.
    Bf16,
    /// 8.5 bits a weight.
    Q8_0,
    /// About 6.6 bits.
    Q6K,
    /// About 5.7 bits.
    Q5KM,
    /// About 4.9 bits.
    Q4KM,
    /// 4.5 bits, the quickest of the small ones on most CPUs.
    Q4_0,
}

impl Precision {
    /// All of them, the largest first.
    pub const ALL: [Self; 6] = [Self::Bf16, Self::Q8_0, Self::Q6K, Self::Q5KM, Self::Q4KM, Self::Q4_0];

    /// The name in commands and files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bf16 => "bf16",
            Self::Q8_0 => "q8_0",
            Self::Q6K => "q6_k",
            Self::Q5KM => "q5_k_m",
            Self::Q4KM => "q4_k_m",
            Self::Q4_0 => "q4_0",
        }
    }

    /// Bits a weight, about: what a progress bar is measured by.
    pub fn bits(self) -> f64 {
        match self {
            Self::Bf16 => 16.0,
            Self::Q8_0 => 8.5,
            Self::Q6K => 6.6,
            Self::Q5KM => 5.7,
            Self::Q4KM => 4.9,
            Self::Q4_0 => 4.5,
        }
    }

    fn file_type(self) -> sys::llama_ftype {
        match self {
            Self::Bf16 => sys::LLAMA_FTYPE_MOSTLY_BF16,
            Self::Q8_0 => sys::LLAMA_FTYPE_MOSTLY_Q8_0,
            Self::Q6K => sys::LLAMA_FTYPE_MOSTLY_Q6_K,
            Self::Q5KM => sys::LLAMA_FTYPE_MOSTLY_Q5_K_M,
            Self::Q4KM => sys::LLAMA_FTYPE_MOSTLY_Q4_K_M,
            Self::Q4_0 => sys::LLAMA_FTYPE_MOSTLY_Q4_0,
        }
    }
}

/// Writes the weights of one file to another, which is overwritten.
///
/// # Errors
/// When a path holds a zero byte, or the library refuses: weights that are quantised already, a file that is no model, a full disk.
pub fn quantise(from: &Path, to: &Path, precision: Precision, threads: usize) -> Result<(), Error> {
    let refused = |reason: &str| Error::Quantise { path: from.into(), reason: reason.into() };
    library();
    let path = |path: &Path| CString::new(path.as_os_str().as_bytes()).map_err(|_| refused("a path holds a zero byte"));
    let (input, output) = (path(from)?, path(to)?);
    // SAFETY: the function has no conditions.
    let mut params = unsafe { sys::llama_model_quantize_default_params() };
    params.ftype = precision.file_type();
    params.nthread = i32::try_from(threads).unwrap_or(i32::MAX);
    // SAFETY: both paths end with a zero byte and, like the parameters, outlive the call, which keeps none of them.
    let code = unsafe { sys::llama_model_quantize(input.as_ptr(), output.as_ptr(), &raw const params) };
    if code == 0 {
        Ok(())
    } else {
        Err(refused("the library cannot; its last log line says why (--log llama-cpp-2=warn)"))
    }
}
