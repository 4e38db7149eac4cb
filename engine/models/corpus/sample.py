"""One training or scoring case: a chat whose assistant turns are right."""

from dataclasses import dataclass, field


@dataclass
class Sample:
    """`messages` are OpenAI-shaped and end with an assistant turn; `tools` are OpenAI-shaped function tools."""

    task: str
    messages: list[dict]
    tools: list[dict] = field(default_factory=list)

    @property
    def answer(self) -> str:
        """The text of the last assistant turn, tool calls included, as the model writes it."""
        return written(self.messages[-1])


def exchange(task: str, question: str, answer: str) -> Sample:
    """A chat of one question and its answer."""
    return Sample(task, [{"role": "user", "content": question}, {"role": "assistant", "content": answer}])


def written(message: dict) -> str:
    """The text that the chat template writes for an assistant's turn."""
    calls = "\n".join(
        '<tool_call>{"name": "%s", "arguments": %s}</tool_call>' % (call["function"]["name"], call["function"]["arguments"])
        for call in message.get("tool_calls", [])
    )
    return (message.get("content") or "") + calls
