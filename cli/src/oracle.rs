//! `plumbline oracle`: trains the lexical judge and reports how it does on
//! cases that it did not see.
