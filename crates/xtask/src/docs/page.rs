//! A page of Markdown, seen as its fenced blocks and the commands of its transcripts.

/// A line that asks for a server of the page's own.
const NEEDS_REDIS: &str = "<!-- needs a Redis server -->";

/// The fenced blocks of a page, in order.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) blocks: Vec<Block>,
    pub(super) needs_redis: bool,
}

/// One fenced block.
#[derive(Debug)]
pub(super) struct Block {
    /// Line of the opening fence, from 1.
    pub(super) line: usize,
    /// First word after the fence.
    pub(super) language: String,
    /// The other words after the fence.
    pub(super) info: Vec<String>,
    pub(super) body: String,
    /// What a `console` block shows being typed.
    pub(super) examples: Vec<Example>,
}

/// One command of a transcript and what it is said to print.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Example {
    pub(super) line: usize,
    pub(super) command: String,
    pub(super) expected: Vec<String>,
    /// The next command is `echo $?`: another status than 0 is part of the story.
    pub(super) status_is_shown: bool,
}

impl Page {
    /// Reads a page; the error starts with the line it is about.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let mut blocks = Vec::new();
        let mut lines = text.lines().zip(1..);
        while let Some((opening, line)) = lines.next() {
            let Some(info) = opening.strip_prefix("```") else {
                continue;
            };
            let body: Vec<&str> =
                lines.by_ref().map(|(text, _)| text).take_while(|text| *text != "```").collect();
            let mut words = info.split_whitespace().map(str::to_owned);
            let language = words.next().unwrap_or_default();
            let examples = if language == "console" { transcript(&body, line + 1)? } else { Vec::new() };
            blocks.push(Block {
                line,
                language,
                info: words.collect(),
                body: body.join("\n") + "\n",
                examples,
            });
        }
        Ok(Self { blocks, needs_redis: text.lines().any(|line| line == NEEDS_REDIS) })
    }

    /// Every command of every transcript, in order.
    pub(super) fn examples(&self) -> impl Iterator<Item = &Example> {
        self.blocks.iter().flat_map(|block| &block.examples)
    }
}

/// `$ ` starts a command, `> ` continues it, everything else is what the command before it prints.
fn transcript(body: &[&str], first_line: usize) -> Result<Vec<Example>, String> {
    let mut examples: Vec<Example> = Vec::new();
    for (text, line) in body.iter().zip(first_line..) {
        if let Some(command) = text.strip_prefix("$ ") {
            let shows_status = command == "echo $?";
            if let Some(previous) = examples.last_mut() {
                previous.status_is_shown = shows_status;
            }
            examples.push(Example {
                line,
                command: command.to_owned(),
                expected: Vec::new(),
                status_is_shown: false,
            });
            continue;
        }
        let Some(example) = examples.last_mut() else {
            return Err(format!("{line}: a console block starts with a line `$ command`"));
        };
        match text.strip_prefix("> ") {
            Some(more) if example.expected.is_empty() => {
                example.command.push('\n');
                example.command.push_str(more);
            }
            _ => example.expected.push((*text).to_owned()),
        }
    }
    Ok(examples)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transcript_is_read_as_commands_and_what_they_print() {
        let text = "Try it:\n\n```console\n$ one \\\n> two\nout\n\nmore\n$ false\n$ echo $?\n1\n```\n";
        let page = Page::read(text).unwrap();
        let seen: Vec<_> = page
            .examples()
            .map(|example| {
                (example.line, &*example.command, example.expected.join("|"), example.status_is_shown)
            })
            .collect();
        assert_eq!(
            seen,
            [
                (4, "one \\\ntwo", "out||more".to_owned(), false),
                (9, "false", String::new(), true),
                (10, "echo $?", "1".to_owned(), false),
            ]
        );
    }

    #[test]
    fn a_block_with_a_file_name_keeps_its_words_and_body() {
        let page = Page::read("```sh file=nightly.sh\n#!/bin/sh\necho hi\n```\n").unwrap();
        assert_eq!(page.blocks[0].language, "sh");
        assert_eq!(page.blocks[0].info, ["file=nightly.sh"]);
        assert_eq!(page.blocks[0].body, "#!/bin/sh\necho hi\n");
    }

    #[test]
    fn output_without_a_command_is_a_mistake_with_its_line() {
        assert_eq!(
            Page::read("```console\nhello\n```\n").unwrap_err(),
            "2: a console block starts with a line `$ command`"
        );
    }
}
