"""The conformance suite: does an agent, in whatever language, do what docs/subjects.md says?"""
