"""The question before every model: does this slice show an adult's chest or abdomen?"""
