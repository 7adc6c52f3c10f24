//! The steps by which an old version is retired by itself: each after a wait, each only while nothing
//! is known to depend on the version, and each undone when somebody turns out to.
//!
//! `Deactivated → RewrapOnly → brownouts → Suspended → DestroyScheduled`. A brownout is a short window
//! in which the version refuses everything, so that whoever still needs it is heard of while it can
//! be given back.

mod place;

use crate::keys::present::Present;
use crate::keys::schedule::{DestroyWait, OutOfRange};
use crate::keys::state::{State, Step};
use crate::keys::{Reason, Timestamp};

pub use place::{Place, Rung};

/// How a key's old versions are retired.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Ladder {
    parts: LadderParts,
}

/// What a ladder is made of, for storing it and for reading it back. Waits are in milliseconds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LadderParts {
    /// To RewrapOnly, from when the version was first seen to be empty.
    pub restrict_after_ms: u64,
    /// How many brownouts.
    pub brownouts: u32,
    /// How long each takes.
    pub brownout_length_ms: u64,
    /// To each, from the step before.
    pub brownout_after_ms: u64,
    /// To Suspended, from the step before.
    pub suspend_after_ms: u64,
    /// To DestroyScheduled, from Suspended.
    pub destroy_after_ms: u64,
    /// From there to the destruction.
    pub destroy_wait: DestroyWait,
}

/// What is known about a version when its next step is decided.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Standing {
    /// Where the version stands.
    pub state: State,
    /// Whether RetireCheck says SAFE.
    pub is_safe: bool,
    /// Who was refused since the last step, if anybody was.
    pub hit: Option<Hit>,
    /// The last audit record.
    pub sequence: u64,
}

/// A use that the version refused.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Hit {
    /// Who asked; empty when the census does not know any more.
    pub principal: String,
    /// When.
    pub time: Timestamp,
}

/// What is to be done with a version, and where it then stands.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Climb {
    /// The step of the version, if there is one, and the reason that it is given.
    pub step: Option<(Step, Reason)>,
    /// Its place afterwards.
    pub place: Place,
}

// === impl Ladder ===

impl Ladder {
    /// The most brownouts.
    pub const BROWNOUTS_MAX: u32 = 100;
    /// The shortest wait and the shortest brownout: a minute.
    pub const WAIT_MS_MIN: u64 = 60_000;
    /// The longest wait: 365 days.
    pub const WAIT_MS_MAX: u64 = 365 * DAY_MS;
    /// The longest brownout: a day.
    pub const BROWNOUT_MS_MAX: u64 = DAY_MS;

    /// A ladder whose waits are from a minute to 365 days, with at most 100 brownouts of a minute to a
    /// day. Without brownouts, their times must be 0. An error names the field.
    pub fn from_parts(parts: LadderParts) -> Result<Self, (&'static str, OutOfRange)> {
        let waits = Self::WAIT_MS_MIN..=Self::WAIT_MS_MAX;
        let lengths = Self::WAIT_MS_MIN..=Self::BROWNOUT_MS_MAX;
        let (brownout_waits, lengths) =
            if parts.brownouts == 0 { (0..=0, 0..=0) } else { (waits.clone(), lengths) };
        let wait = "from 1 minute to 365 days";
        let unless_none = "from 1 minute to 365 days; 0 without brownouts";
        for (field, value, range, problem) in [
            ("restrict_after", parts.restrict_after_ms, waits.clone(), wait),
            ("brownout_after", parts.brownout_after_ms, brownout_waits, unless_none),
            (
                "brownout_length",
                parts.brownout_length_ms,
                lengths,
                "from 1 minute to 1 day; 0 without brownouts",
            ),
            ("suspend_after", parts.suspend_after_ms, waits.clone(), wait),
            ("destroy_after", parts.destroy_after_ms, waits, wait),
        ] {
            if !range.contains(&value) {
                return Err((field, OutOfRange(problem)));
            }
        }
        if parts.brownouts > Self::BROWNOUTS_MAX {
            return Err(("brownouts", OutOfRange("at most 100")));
        }
        Ok(Self { parts })
    }

    /// Everything, for storing and for showing it.
    pub fn parts(&self) -> &LadderParts {
        &self.parts
    }

    /// What comes next for a version at `place`; `None` while there is nothing to do.
    pub fn next(&self, place: &Place, standing: &Standing, present: Present) -> Option<Climb> {
        if place.is_paused() || place.next_time.is_none() {
            return None;
        }
        if !place.rung.fits(standing.state) {
            let text = format!("the version is {}; somebody took another step", standing.state);
            return Some(paused(place.clone(), &text));
        }
        if standing.state == State::Destroyed {
            return Some(Place { next_time: None, ..place.clone() }.into());
        }
        if let Some(hit) = standing.hit.as_ref().filter(|_| place.rung != Rung::Waiting) {
            return Some(self.give_back(place, hit, standing));
        }
        if !place.next_time.is_some_and(|due| present.has_reached(due)) {
            return None;
        }
        match place.rung {
            // It ends when it was announced to end, whatever is known.
            Rung::Brownout => Some(self.end_brownout(place, present)),
            Rung::Waiting if place.step_time.is_none() => {
                standing.is_safe.then(|| self.begin(place, present))
            }
            // It has come to hold something again: it waits anew.
            Rung::Waiting if !standing.is_safe => Some(Place::waiting(present).into()),
            _ if !standing.is_safe => None,
            Rung::Waiting => Some(self.restrict(standing, present)),
            Rung::Restricted | Rung::Between => Some(self.suspend(place, standing, present)),
            Rung::Suspended => Some(self.doom(place, standing, present)),
            Rung::Doomed => None,
        }
    }

    /// What was paused goes on, and waits for its next step as if it had just come to where it is.
    pub fn resume(&self, place: &Place, sequence: u64, present: Present) -> Place {
        let wait_ms = match place.rung {
            Rung::Waiting => return Place::waiting(present),
            Rung::Brownout => self.parts.brownout_length_ms,
            Rung::Restricted | Rung::Between => self.wait_after(place.brownouts_done),
            Rung::Suspended | Rung::Doomed => self.parts.destroy_after_ms,
        };
        Place {
            step_time: Some(present.wall()),
            step_sequence: sequence,
            next_time: Some(present.wait_start().plus_ms(wait_ms)),
            pause_reason: Reason::none(),
            ..place.clone()
        }
    }

    /// What was done last, in words.
    pub fn last_step(&self, place: &Place) -> String {
        match place.rung {
            Rung::Waiting if place.step_time.is_some() => "seen to be empty".to_owned(),
            Rung::Waiting => "waiting to be emptied".to_owned(),
            Rung::Restricted => "rewrap only".to_owned(),
            Rung::Brownout => {
                let number = place.brownouts_done.saturating_add(1);
                format!("brownout {number} of {}", self.parts.brownouts)
            }
            Rung::Between => {
                format!("brownout {} of {} is over", place.brownouts_done, self.parts.brownouts)
            }
            Rung::Suspended => "suspended".to_owned(),
            Rung::Doomed => "destruction scheduled".to_owned(),
        }
    }

    /// The next step in words; empty where there is none.
    pub fn next_step(&self, place: &Place) -> String {
        let brownouts = self.parts.brownouts;
        match place.rung {
            Rung::Waiting => "rewrap only".to_owned(),
            Rung::Restricted | Rung::Between if place.brownouts_done < brownouts => {
                format!("brownout {} of {brownouts}", place.brownouts_done.saturating_add(1))
            }
            Rung::Restricted | Rung::Between => "suspend".to_owned(),
            Rung::Brownout => {
                format!("end of brownout {} of {brownouts}", place.brownouts_done.saturating_add(1))
            }
            Rung::Suspended => "schedule destruction".to_owned(),
            Rung::Doomed => String::new(),
        }
    }

    fn begin(&self, place: &Place, present: Present) -> Climb {
        let next = present.wait_start().plus_ms(self.parts.restrict_after_ms);
        let step_time = Some(present.wall());
        Place { step_time, next_time: Some(next), ..place.clone() }.into()
    }

    fn restrict(&self, standing: &Standing, present: Present) -> Climb {
        let place = self.at(Rung::Restricted, 0, standing.sequence, self.wait_after(0), present);
        Climb { step: Some((Step::Restrict, said("by its ladder"))), place }
    }

    fn suspend(&self, place: &Place, standing: &Standing, present: Present) -> Climb {
        let (done, all) = (place.brownouts_done, self.parts.brownouts);
        let (rung, wait_ms, text) = if done < all {
            let number = done.saturating_add(1);
            let minutes = self.parts.brownout_length_ms.div_ceil(60_000);
            let text = format!("brownout {number} of {all} by its ladder, for {minutes} minutes");
            (Rung::Brownout, self.parts.brownout_length_ms, text)
        } else {
            (Rung::Suspended, self.parts.destroy_after_ms, "by its ladder".to_owned())
        };
        let place = self.at(rung, done, standing.sequence, wait_ms, present);
        Climb { step: Some((Step::Suspend, said(&text))), place }
    }

    fn end_brownout(&self, place: &Place, present: Present) -> Climb {
        let done = place.brownouts_done.saturating_add(1);
        // A refusal of the brownout that is counted only later is a hit still.
        let sequence = place.step_sequence;
        let place = self.at(Rung::Between, done, sequence, self.wait_after(done), present);
        let text = format!("brownout {done} of {} is over", self.parts.brownouts);
        Climb { step: Some((Step::Resume, said(&text))), place }
    }

    fn doom(&self, place: &Place, standing: &Standing, present: Present) -> Climb {
        let done = place.brownouts_done;
        let place = self.at(Rung::Doomed, done, standing.sequence, 0, present);
        Climb { step: Some((Step::ScheduleDestroy, said("by its ladder"))), place }
    }

    /// Undoes the last step and goes no further: somebody needs the version.
    fn give_back(&self, place: &Place, hit: &Hit, standing: &Standing) -> Climb {
        let (step, rung) = match place.rung {
            Rung::Waiting => (None, Rung::Waiting),
            Rung::Restricted | Rung::Between => (Some(Step::Unrestrict), Rung::Waiting),
            Rung::Brownout | Rung::Suspended if place.brownouts_done == 0 => {
                (Some(Step::Resume), Rung::Restricted)
            }
            Rung::Brownout | Rung::Suspended => (Some(Step::Resume), Rung::Between),
            Rung::Doomed => (Some(Step::CancelDestroy), Rung::Suspended),
        };
        let who = if hit.principal.is_empty() { "somebody" } else { &hit.principal };
        let text = format!("{who} was refused while it was {}", standing.state);
        let mut climb = paused(Place { rung, ..place.clone() }, &text);
        climb.step = step.map(|step| (step, climb.place.pause_reason.clone()));
        climb
    }

    fn wait_after(&self, brownouts_done: u32) -> u64 {
        if brownouts_done < self.parts.brownouts {
            self.parts.brownout_after_ms
        } else {
            self.parts.suspend_after_ms
        }
    }

    fn at(
        &self,
        rung: Rung,
        brownouts_done: u32,
        step_sequence: u64,
        wait_ms: u64,
        present: Present,
    ) -> Place {
        Place {
            rung,
            brownouts_done,
            step_time: Some(present.wall()),
            step_sequence,
            next_time: Some(present.wait_start().plus_ms(wait_ms)),
            pause_reason: Reason::none(),
        }
    }
}

// === impl Climb ===

impl From<Place> for Climb {
    fn from(place: Place) -> Self {
        Self { step: None, place }
    }
}

/// What goes no further, and why.
fn paused(place: Place, text: &str) -> Climb {
    Place { pause_reason: said(text), ..place }.into()
}

/// A reason of our own words, which a principal's name may make too long.
fn said(text: &str) -> Reason {
    let mut text = text;
    loop {
        match (Reason::parse(text), text.char_indices().next_back()) {
            (Ok(reason), _) => return reason,
            (Err(_), Some((end, _))) => text = text.get(..end).unwrap_or_default(),
            (Err(_), None) => return Reason::none(),
        }
    }
}

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

#[cfg(test)]
mod tests;
