"""What does a critic whose maximum is built in give up in fit, and save in time?"""
