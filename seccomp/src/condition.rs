//! One comparison of one argument, as libseccomp understands it on 64-bit and on 32-bit ABIs.

use crate::abi::Width;

/// `SCMP_CMP_*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Op {
    Ne,
    Lt,
    Le,
    Eq,
    Ge,
    Gt,
    MaskedEq,
}

/// `argument op value`; for `MaskedEq`, `argument & mask == value`. The mask of the others is all ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Condition {
    pub(crate) arg: u8,
    pub(crate) op: Op,
    pub(crate) value: u64,
    pub(crate) mask: u64,
}

impl Op {
    pub(crate) fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "SCMP_CMP_NE" => Self::Ne,
            "SCMP_CMP_LT" => Self::Lt,
            "SCMP_CMP_LE" => Self::Le,
            "SCMP_CMP_EQ" => Self::Eq,
            "SCMP_CMP_GE" => Self::Ge,
            "SCMP_CMP_GT" => Self::Gt,
            "SCMP_CMP_MASKED_EQ" => Self::MaskedEq,
            _ => return None,
        })
    }
}

impl Condition {
    /// libseccomp masks the compared value too, so bits outside of the mask never make a rule impossible.
    pub(crate) fn new(arg: u8, op: Op, value: u64, value_two: u64) -> Self {
        match op {
            Op::MaskedEq => Self { arg, op, value: value_two & value, mask: value },
            _ => Self { arg, op, value, mask: u64::MAX },
        }
    }

    /// The condition an ABI can see: 32-bit ones lose the upper half of value and mask. `None` when nothing is
    /// left to compare, which libseccomp takes as true.
    pub(crate) fn narrowed(self, width: Width) -> Option<Self> {
        let seen = match width {
            Width::Bits64 => u64::MAX,
            Width::Bits32 => u64::from(u32::MAX),
        };
        let narrowed = Self { value: self.value & seen, mask: self.mask & seen, ..self };
        (narrowed.mask != 0).then_some(narrowed)
    }

    /// Whether an argument fulfils the (narrowed) condition.
    pub(crate) fn holds(&self, argument: u64) -> bool {
        let seen = argument & self.mask;
        match self.op {
            Op::Ne => seen != self.value,
            Op::Lt => seen < self.value,
            Op::Le => seen <= self.value,
            Op::Eq | Op::MaskedEq => seen == self.value,
            Op::Ge => seen >= self.value,
            Op::Gt => seen > self.value,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn truth(op: Op, value: u64, value_two: u64, argument: u64, width: Width) -> bool {
        Condition::new(0, op, value, value_two).narrowed(width).is_none_or(|c| c.holds(argument))
    }

    #[test]
    fn operators_compare_unsigned_64_bits() {
        let big = 0xffff_ffff_ffff_ffff;
        assert!(truth(Op::Gt, 1, 0, big, Width::Bits64));
        assert!(!truth(Op::Lt, 1, 0, big, Width::Bits64));
        assert!(truth(Op::Le, 5, 0, 5, Width::Bits64));
        assert!(truth(Op::Ge, 5, 0, 5, Width::Bits64));
        assert!(!truth(Op::Ne, 5, 0, 5, Width::Bits64));
        assert!(!truth(Op::Eq, 5, 0, 0x1_0000_0005, Width::Bits64));
    }

    #[test]
    fn a_32_bit_abi_sees_the_lower_halves() {
        assert!(truth(Op::Eq, 0x1_0000_0005, 0, 0x7_0000_0005, Width::Bits32));
        assert!(truth(Op::MaskedEq, 0xff_0000_0000, 1, 7, Width::Bits32));
    }

    #[test]
    fn masked_values_are_masked_first() {
        assert!(truth(Op::MaskedEq, 0x0f, 0xf3, 0x33, Width::Bits64));
        assert!(truth(Op::MaskedEq, 0, 9, 0, Width::Bits64));
    }
}
