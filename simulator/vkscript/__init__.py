"""VKScript, the language of execute: source text -> `lexer` -> `parser` -> a tree -> `interpreter` -> values.

The language: dev.vk.com/ru/execute, and what the common clients send (vk_api 11.10, vkbottle 4.11, vk-io 4.10). What
these leave open is as in JavaScript, and commented there.
"""

from simulator.vkscript.interpreter import Interpreter
from simulator.vkscript.parser import parse

__all__ = ["Interpreter", "parse"]
