# Export of what changed in a dossier: caisseauto export. Arguments are those of the program:
#   powershell -NoProfile -File export_caisseauto.ps1 --config C:\ProgramData\caisseauto\server.toml --dossier ACME
# They are taken as they stand, so that there is no param() here.
. (Join-Path $PSScriptRoot 'caisseauto.ps1')
exit (Invoke-Caisseauto 'export_caisseauto' 'export' (Join-Path $env:ProgramData 'caisseauto\server.toml') $args)
