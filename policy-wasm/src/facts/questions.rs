//! What each controller does, question by question, as `docs/rules.md` prints it.
