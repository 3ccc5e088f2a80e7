//! For the benchmark: sends the bytes of a step, and does nothing with them.

use super::resp::SHORT;
use super::script::Script;
use super::{RedisStore, arguments, no_limits};
use crate::name::Namespace;
use crate::step::Step;
use crate::store::StoreError;

impl RedisStore {
    /// Returns a round trip that sends the arguments of this step to a script that does nothing. The
    /// arguments are made once, here: what is left to the round trip is the connection, and what any
    /// client would do.
    pub fn no_op(
        &self,
        namespace: &Namespace,
        step: &Step,
    ) -> Result<impl Fn() -> Result<(), StoreError> + '_, StoreError> {
        let keys = self.enter(namespace, &no_limits())?;
        let script = Script::new("return 1".to_owned());
        let mut arguments = self.head(arguments::name_of(step));
        arguments::add_step(&mut arguments, step);
        Ok(move || self.send(&keys, &script, &arguments, SHORT, None, &no_limits()).map(drop))
    }
}
