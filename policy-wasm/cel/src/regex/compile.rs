//! The program of a pattern.

use super::Instruction;
use super::parse::Part;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

/// The longest program. A repetition has its part as often as it counts.
const MAX_INSTRUCTIONS: usize = 10_000;

/// Compiles a parsed pattern.
pub(super) fn compile(part: &Part) -> Result<Box<[Instruction]>, String> {
    let mut program = Program(Vec::new());
    program.part(part)?;
    program.push(Instruction::Match)?;
    Ok(program.0.into())
}

struct Program(Vec<Instruction>);

impl Program {
    fn push(&mut self, instruction: Instruction) -> Result<usize, String> {
        if self.0.len() >= MAX_INSTRUCTIONS {
            return Err("error parsing regexp: expression too large".into());
        }
        self.0.push(instruction);
        Ok(self.0.len() - 1)
    }

    fn part(&mut self, part: &Part) -> Result<(), String> {
        match part {
            Part::Empty => {}
            Part::Char(c) => {
                self.push(Instruction::Char(*c))?;
            }
            Part::Class(ranges) => {
                self.push(Instruction::Class(ranges.as_slice().into()))?;
            }
            Part::Assert(assertion) => {
                self.push(Instruction::Assert(*assertion))?;
            }
            Part::Sequence(parts) => {
                for part in parts {
                    self.part(part)?;
                }
            }
            Part::Either(branches) => self.either(branches)?,
            Part::Repeat {
                part,
                least,
                most,
                is_greedy,
            } => self.repeat(part, *least, *most, *is_greedy)?,
        }
        Ok(())
    }

    fn either(&mut self, branches: &[Part]) -> Result<(), String> {
        let mut jumps = Vec::with_capacity(branches.len());
        for (index, branch) in branches.iter().enumerate() {
            if index + 1 == branches.len() {
                self.part(branch)?;
                break;
            }
            let split = self.push(Instruction::Jump(0))?;
            self.part(branch)?;
            jumps.push(self.push(Instruction::Jump(0))?);
            self.0[split] = Instruction::Split(split + 1, self.0.len());
        }
        let end = self.0.len();
        for jump in jumps {
            self.0[jump] = Instruction::Jump(end);
        }
        Ok(())
    }

    fn repeat(
        &mut self,
        part: &Part,
        least: u32,
        most: Option<u32>,
        is_greedy: bool,
    ) -> Result<(), String> {
        let split = |into: usize, past: usize| {
            if is_greedy {
                Instruction::Split(into, past)
            } else {
                Instruction::Split(past, into)
            }
        };
        let Some(most) = most else {
            for _ in 1..least {
                self.part(part)?;
            }
            // As in Go: what may be empty repeats as `(x+)?`, to keep the priorities.
            let is_plus = least > 0 || is_nullable(part);
            let option = match least {
                0 => Some(self.push(Instruction::Jump(0))?),
                _ => None,
            };
            let start = self.0.len();
            self.part(part)?;
            if is_plus {
                let end = self.push(Instruction::Jump(0))?;
                self.0[end] = split(start, end + 1);
            } else {
                self.push(Instruction::Jump(start - 1))?;
            }
            if let Some(option) = option {
                self.0[option] = split(option + 1, self.0.len());
            }
            return Ok(());
        };
        for _ in 0..least {
            self.part(part)?;
        }
        let mut splits = Vec::new();
        for _ in least..most {
            splits.push(self.push(Instruction::Jump(0))?);
            self.part(part)?;
        }
        let end = self.0.len();
        for start in splits {
            self.0[start] = split(start + 1, end);
        }
        Ok(())
    }
}

/// Returns whether a part can match without a character.
fn is_nullable(part: &Part) -> bool {
    match part {
        Part::Empty | Part::Assert(_) => true,
        Part::Char(_) | Part::Class(_) => false,
        Part::Sequence(parts) => parts.iter().all(is_nullable),
        Part::Either(branches) => branches.iter().any(is_nullable),
        Part::Repeat { part, least, .. } => *least == 0 || is_nullable(part),
    }
}
