//! For the benchmark: the bytes of a step to and fro, and nothing done with them.

use super::resp::SHORT;
use super::script::Script;
use super::{RedisStore, arguments, no_limits};
use crate::name::Namespace;
use crate::step::Step;
use crate::store::StoreError;

impl RedisStore {
    /// A round trip that sends what this step would send to a script that does nothing. The words are made here, once:
    /// what is left to the round trip is the connection, and what any client would do.
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
