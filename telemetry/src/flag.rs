//! Quality as a flag kept with the value, never a silent drop.

/// Flags of one observation. None set: good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct ValueFlags(u8);

impl ValueFlags {
    /// No flag: a good value.
    pub const GOOD: Self = Self(0);
    /// Outside the property's range.
    pub const RANGE: Self = Self(1);
    /// Of another type than the property; the value itself is left out.
    pub const TYPE: Self = Self(2);
    /// `null`, or absent and required.
    pub const MISSING: Self = Self(4);
    /// Older than the newest good observation of that device and property.
    pub const LATE: Self = Self(8);

    const CODES: [(Self, &'static str); 4] = [
        (Self::LATE, "late"),
        (Self::MISSING, "missing"),
        (Self::RANGE, "range"),
        (Self::TYPE, "type"),
    ];

    /// Returns whether no flag is set.
    #[must_use]
    pub const fn is_good(self) -> bool {
        self.0 == 0
    }

    /// Returns whether every flag of `other` is set.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Returns both sets together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Returns this set less the flags of `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Returns the codes of the flags set, in alphabetical order.
    pub fn codes(self) -> impl Iterator<Item = &'static str> {
        Self::CODES.into_iter().filter(move |(flag, _)| self.has(*flag)).map(|(_, code)| code)
    }
}

/// What is wrong with the time of a reading; the point then stands at `received_at`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TimeFlag {
    /// The payload has no time.
    Missing,
    /// Later than the profile's `future` allows.
    Future,
    /// Earlier than the profile's `past` allows, or before 2000.
    Past,
}

impl TimeFlag {
    /// Returns the code written to `time_flag`.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Future => "future",
            Self::Past => "past",
        }
    }
}
