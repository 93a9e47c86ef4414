#!/usr/bin/env bash
# Stands for the package of verger in terraform test.
