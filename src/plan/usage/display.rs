//! Usage and bills as an operator reads them.

use std::fmt;

use super::{DayUsage, MonthBill, Usage};

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { snapshots, on_demand_snapshots, logs, histories } = *self;
        write!(f, "{} in all: {} of snapshots, ", Size(self.total()), Size(snapshots))?;
        write!(f, "{} of snapshots on demand, ", Size(on_demand_snapshots))?;
        write!(f, "{} of log, {} of histories", Size(logs), Size(histories))
    }
}

impl fmt::Display for DayUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (average, maximum) = (Size(self.average), Size(self.maximum));
        write!(f, "{:.10}  {average} on average, {maximum} at most; at its end {}", self.day.to_string(), self.at_end)
    }
}

impl fmt::Display for MonthBill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (average, maximum) = (Size(self.average), Size(self.maximum));
        write!(f, "{:.7}  {}: {average} stored on average, ", self.from.to_string(), Money(self.charge_micros))?;
        write!(f, "{maximum} at most, from {} until {}", self.from, self.until)
    }
}

/// Bytes in binary units, with one decimal, rounded down.
struct Size(u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(50, "PiB"), (40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
        match units.into_iter().find(|&(shift, _)| self.0 >> shift > 0) {
            Some((shift, unit)) => {
                let tenths = (u128::from(self.0) * 10) >> shift;
                write!(f, "{}.{} {unit}", tenths / 10, tenths % 10)
            }
            None => write!(f, "{} bytes", self.0),
        }
    }
}

/// Millionths of a currency's unit, all of them.
struct Money(u128);

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}
