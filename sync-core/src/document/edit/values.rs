//! Changes of the sets, registers and counters of the document itself.

use crate::small::SmallVec;

use super::{Edit, Step};
use crate::causal::{CausalContext, PlaceId, PlaceStore};
use crate::document::member_id;
use crate::document::target::{Targets, check_value};
use crate::error::Misuse;
use crate::types::place::{set_space, value_space};
use crate::types::{Content, Field, Value, element};

impl<S: PlaceStore> Edit<'_, S> {
    /// Adds a member to a set of the document. Does nothing where it is there.
    pub fn set_add(&mut self, name: &str, value: &Value) -> Step<S> {
        let space = set_space(name)?;
        check_value(value.lent())?;
        let id = member_id(value);
        if !self.record_at(&space, &id)?.members("").contains(value) {
            let written = element::Written::new("", &Content::Member(value.clone()), None);
            let mut targets = Targets::default();
            targets.push_raw(&written.name, &written.bytes);
            self.write(&space, &id, &mut targets, CausalContext::default())?;
        }
        Ok(())
    }

    /// Removes a member from a set of the document. Does nothing where it is not there.
    pub fn set_remove(&mut self, name: &str, value: &Value) -> Step<S> {
        let space = set_space(name)?;
        let id = member_id(value);
        let record = self.record_at(&space, &id)?;
        let same = record
            .elements()
            .iter()
            .filter(|element| element.content == Content::Member(value.clone()));
        let dots = same.map(|element| element.claim.dot).collect();
        self.write(&space, &id, &mut Targets::default(), dots)
    }

    /// Writes a single value of the document: a register of either kind. Does nothing where it is so.
    pub fn set_value(&mut self, name: &str, field: &Field) -> Step<S> {
        let space = value_space(name)?;
        if !matches!(field, Field::Register(_) | Field::Latest(_)) {
            return Err(Misuse::BadName { what: "a single value is a register; it" }.into());
        }
        let mut targets = Targets::default();
        targets.push_field(&mut SmallVec::new(), field)?;
        let id = PlaceId::default();
        let found = self.compare(&space, &id, &mut targets, &[""], &[])?;
        self.replace(&space, &id, &mut targets, &found)
    }

    /// Adds to a counter of the document; a negative amount takes away.
    pub fn count_value(&mut self, name: &str, amount: i64) -> Step<S> {
        let space = value_space(name)?;
        self.add_share(&space, &PlaceId::default(), &[], amount)
    }
}
