"""Widthwise: how many neurons should each layer have?"""
