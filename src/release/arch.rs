//! Processor architectures, under the names the manifest uses and the names OCI uses.

use std::fmt;

/// An architecture packages are made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Arch {
    /// 64-bit x86.
    X86_64,
    /// 64-bit ARM.
    Aarch64,
}

impl Arch {
    /// All of them.
    pub const ALL: [Arch; 2] = [Arch::X86_64, Arch::Aarch64];

    /// From any usual name (`x86_64`, `amd64`, `aarch64`, `arm64`, also with a variant: `arm64/v8`).
    pub fn from_name(name: &str) -> Option<Self> {
        match name.split('/').next().unwrap_or(name) {
            "x86_64" | "amd64" => Some(Self::X86_64),
            "aarch64" | "arm64" => Some(Self::Aarch64),
            _ => None,
        }
    }

    /// From what the engine and `release.json` say (`amd64`, `arm64`); the engine's `info` says `x86_64` and
    /// `aarch64` instead, so those are taken too.
    pub fn from_oci(name: &str) -> Option<Self> {
        Self::from_name(name)
    }

    /// The OCI name.
    pub fn oci(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::Aarch64 => "arm64",
        }
    }

    /// The name in a manifest.
    pub fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
        }
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_leads_back() {
        for arch in Arch::ALL {
            assert_eq!(Arch::from_name(arch.name()), Some(arch));
            assert_eq!(Arch::from_oci(arch.oci()), Some(arch));
        }
        assert_eq!(Arch::from_oci("arm64/v8"), Some(Arch::Aarch64));
        assert_eq!(Arch::from_name("riscv64"), None);
        assert_eq!(Arch::from_oci("any"), None);
    }
}
