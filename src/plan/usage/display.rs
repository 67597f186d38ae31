//! Usage, bills and forecasts as an operator reads them.

use std::fmt;

use super::{DayUsage, Forecast, MonthBill, ObservedPeriod, Usage};
use crate::plan::text::Size;

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

impl fmt::Display for Forecast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (charge, free) = (Money(self.monthly_charge_micros), Size(self.provisioned_bytes));
        writeln!(f, "{} days of retention would cost {charge} a month", self.retention.days())?;
        write!(f, "  stored    {}: {} of snapshots, ", Size(self.total_bytes), Size(self.snapshot_bytes))?;
        writeln!(f, "{} of log, {} of others", Size(self.log_bytes), Size(self.other_bytes))?;
        writeln!(f, "  charged   {}, with {free} free", Size(self.excess_bytes))?;
        let (bytes, charge) = (Size(self.another_day_bytes), Money(self.another_day_charge_micros));
        writeln!(f, "  a day     more would add {bytes} and {charge} a month")?;
        write!(f, "  known by  {}", Known(self))
    }
}

struct Known<'a>(&'a Forecast);

impl fmt::Display for Known<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let days = self.0.observed_days;
        match self.0.period {
            ObservedPeriod::Nothing => f.write_str("nothing yet: not a day was observed, so it will be more"),
            ObservedPeriod::PartOfWeek => write!(f, "{days} observed days only, less than a week"),
            ObservedPeriod::Week => write!(f, "{days} observed days"),
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
